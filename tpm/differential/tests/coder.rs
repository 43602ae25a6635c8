//! What the engine writes, an independent coder (the crate tpm2-protocol) can read.

use tpm_differential::backend::Engine;
use tpm_differential::scenario::Generator;
use tpm_differential::side::{Exchange, Side};
use tpm2_protocol::frame::*;

/// Reads the response as the type of its command; nothing where the table has none.
fn read(exchange: &Exchange) -> Option<Result<(), String>> {
    macro_rules! bodies {
        ($($code:literal $body:ty;)*) => {
            match tpm_differential::run::code(exchange) {
                $($code => TpmResponse::cast(&exchange.response)
                    .and_then(|response| response.unmarshal::<$body>())
                    .map(|_| ()),)*
                _ => return None,
            }
        };
    }
    let read = bodies! {
        0x131 TpmCreatePrimaryResponse;
        0x148 TpmCertifyResponse;
        0x14A TpmCertifyCreationResponse;
        0x14B TpmDuplicateResponse;
        0x14E TpmNvReadResponse;
        0x153 TpmCreateResponse;
        0x156 TpmImportResponse;
        0x157 TpmLoadResponse;
        0x158 TpmQuoteResponse;
        0x15D TpmSignResponse;
        0x160 TpmPolicySignedResponse;
        0x162 TpmContextSaveResponse;
        0x167 TpmLoadExternalResponse;
        0x169 TpmNvReadPublicResponse;
        0x173 TpmReadPublicResponse;
        0x177 TpmVerifySignatureResponse;
        0x17D TpmHashResponse;
        0x17E TpmPcrReadResponse;
        0x184 TpmNvCertifyResponse;
        0x191 TpmCreateLoadedResponse;
    };
    match read {
        // The coder's own bounds are lower in places (the unique field of a symmetric key), or misplaced (TPMS_SCHEME_XOR).
        Err(tpm2_protocol::TpmError::TooManyBytes { .. }) => None,
        // It takes TPMS_SCHEME_ECDAA and TPMS_SCHEME_XOR for schemes of one hash algorithm.
        Err(_)
            if exchange
                .response
                .windows(4)
                .any(|at| matches!(at, [0, 0x1A, 0, _] | [0, 0x0A, 0, _])) =>
        {
            None
        }
        read => Some(read.map_err(|err| format!("{err:?}"))),
    }
}

#[test]
fn every_response_is_readable_to_an_independent_coder() {
    let mut engine = Side::new(Box::new(Engine::new(7)));
    let mut count = 0;
    for action in Generator::new(7, 0, false).actions(6000) {
        for exchange in engine.act(&action).unwrap() {
            // A first parameter that is encrypted is not readable by nature.
            if exchange.rc() == 0
                && exchange.plain == exchange.response
                && let Some(result) = read(&exchange)
            {
                assert_eq!(
                    result,
                    Ok(()),
                    "{}",
                    tpm_differential::run::show(&exchange, &exchange)
                );
                count += 1;
            }
        }
    }
    assert!(count > 500, "{count} responses");
}
