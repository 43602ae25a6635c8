//! The identity of the TPM: its endorsement keys' public areas, for whoever issues certificates before a guest sees it.
//!
//! They follow from the endorsement primary seed (TCG EK Credential Profile, Annex B); nothing that a guest can see changes.
//! Finding a prime takes tens of milliseconds, so each key is made when it is first asked for, and kept while the seed
//! stays.

use alloc::boxed::Box;

use crate::buf::Buf;
use crate::crypto::hash::{self, HashAlg};
use crate::object::primary::{self, Root};
use crate::state::State;
use crate::types::{
    Curve, Digest, Mode, ObjectAttributes as A, Parameters, Point, Public, Scheme, SensitiveCreate,
    SymObject, Unique, rh,
};

/// The endorsement keys of the profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndorsementKey {
    /// Template L-1: RSA-2048.
    Rsa2048,
    /// Template L-2: P-256.
    EccP256,
    /// Template H-3: P-384.
    EccP384,
}

/// PolicySecret(TPM_RH_ENDORSEMENT) with SHA-256: PolicyA.
const POLICY_A: [u8; 32] = [
    0x83, 0x71, 0x97, 0x67, 0x44, 0x84, 0xb3, 0xf8, 0x1a, 0x90, 0xcc, 0x8d, 0x46, 0xa5, 0xd7, 0x24,
    0xfd, 0x52, 0xd7, 0x6e, 0x06, 0x52, 0x0b, 0x64, 0xf2, 0xa1, 0xda, 0x1b, 0x33, 0x14, 0x69, 0xaa,
];
/// PolicyA or PolicyAuthorizeNV of index 0x01C07F02, with SHA-384: PolicyB.
const POLICY_B: [u8; 48] = [
    0xb2, 0x6e, 0x7d, 0x28, 0xd1, 0x1a, 0x50, 0xbc, 0x53, 0xd8, 0x82, 0xbc, 0xf5, 0xfd, 0x3a, 0x1a,
    0x07, 0x41, 0x48, 0xbb, 0x35, 0xd3, 0xb4, 0xe4, 0xcb, 0x1c, 0x0a, 0xd9, 0xbd, 0xe4, 0x19, 0xca,
    0xcb, 0x47, 0xba, 0x09, 0x69, 0x96, 0x46, 0x15, 0x0f, 0x9f, 0xc0, 0x00, 0xf3, 0xf8, 0x0e, 0x12,
];

impl EndorsementKey {
    /// The template of the EK Credential Profile.
    pub fn template(self) -> Public {
        let low = A::FIXED_TPM
            | A::FIXED_PARENT
            | A::SENSITIVE_DATA_ORIGIN
            | A::ADMIN_WITH_POLICY
            | A::RESTRICTED
            | A::DECRYPT;
        let symmetric = |bits| {
            Some(SymObject {
                bits,
                mode: Some(Mode::Cfb),
            })
        };
        let ecc = |curve, bits| Parameters::Ecc {
            symmetric: symmetric(bits),
            scheme: Scheme::NULL,
            curve,
            kdf: Scheme::NULL,
        };
        let point = |size| {
            Unique::Ecc(Point {
                x: Buf::zeroed(size),
                y: Buf::zeroed(size),
            })
        };
        let (name_alg, attributes, policy, parameters, unique): (_, _, &[u8], _, _) = match self {
            EndorsementKey::Rsa2048 => (
                HashAlg::Sha256,
                low,
                &POLICY_A,
                Parameters::Rsa {
                    symmetric: symmetric(128),
                    scheme: Scheme::NULL,
                    bits: 2048,
                    exponent: 0,
                },
                Unique::Rsa(Buf::zeroed(256)),
            ),
            EndorsementKey::EccP256 => (
                HashAlg::Sha256,
                low,
                &POLICY_A,
                ecc(Curve::P256, 128),
                point(32),
            ),
            EndorsementKey::EccP384 => (
                HashAlg::Sha384,
                low | A::USER_WITH_AUTH,
                &POLICY_B,
                ecc(Curve::P384, 256),
                point(0),
            ),
        };
        Public {
            name_alg: Some(name_alg),
            attributes,
            auth_policy: Buf::from_prefix(policy),
            parameters,
            unique,
        }
    }
}

/// Public areas that were asked for.
#[derive(Default)]
pub(crate) struct Cache {
    /// Digest of the seed that they are from.
    seed: Digest,
    keys: [Option<Box<Public>>; 3],
}

impl Cache {
    /// The public area of `key`; nothing where the TPM has no seed, because its state could not be read.
    pub(crate) fn public(&mut self, s: &State, key: EndorsementKey) -> Option<&Public> {
        let root = Root::new(s, rh::ENDORSEMENT);
        if root.seed.is_empty() {
            return None;
        }
        let seed = hash::digest(HashAlg::Sha256, &[root.seed]);
        if seed != self.seed {
            *self = Cache {
                seed,
                ..Cache::default()
            };
        }
        let place = self.keys.get_mut(key as usize)?;
        if place.is_none() {
            let made = primary::create(&root, key.template(), &SensitiveCreate::default()).ok()?;
            *place = Some(Box::new(made.0));
        }
        place.as_deref()
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        reason = "a test that panics has failed"
    )]

    extern crate std;
    use std::vec::Vec;

    use super::*;
    use crate::codec::to_buf;
    use crate::persist::tests::Host;
    use crate::types::cc;
    use crate::{Tpm, limits::MAX_COMMAND_SIZE};

    fn run(tpm: &mut Tpm<Host>, cc: u32, handle: Option<u32>, parameters: &[u8]) -> Vec<u8> {
        let mut command = Vec::from([0x80, if handle.is_some() { 2 } else { 1 }]);
        command.extend([0; 4]);
        command.extend(cc.to_be_bytes());
        if let Some(handle) = handle {
            command.extend(handle.to_be_bytes());
            command.extend(9u32.to_be_bytes());
            command.extend(rh::PW.to_be_bytes());
            command.extend([0, 0, 1, 0, 0]);
        }
        command.extend(parameters);
        let len = command.len() as u32;
        command[2..6].copy_from_slice(&len.to_be_bytes());
        let mut response = [0; MAX_COMMAND_SIZE];
        let response = tpm.execute(0, &command, &mut response);
        assert_eq!(response[6..10], [0; 4], "{cc:#x}");
        response.to_vec()
    }

    /// inSensitive, inPublic, outsideInfo and creationPCR of TPM2_CreatePrimary.
    fn parameters(key: EndorsementKey) -> Vec<u8> {
        let template = to_buf::<512>(&key.template()).unwrap();
        let mut bytes = Vec::from([0, 4, 0, 0, 0, 0]);
        bytes.extend((template.len() as u16).to_be_bytes());
        bytes.extend(template.as_slice());
        bytes.extend([0; 6]);
        bytes
    }

    #[test]
    fn an_endorsement_key_is_the_one_that_a_guest_gets_until_the_seed_changes() {
        let mut tpm = Tpm::new(Host::default());
        let keys = [
            EndorsementKey::EccP256,
            EndorsementKey::EccP384,
            EndorsementKey::Rsa2048,
        ];
        let before = keys.map(|key| tpm.endorsement_key(key).unwrap().clone());
        run(&mut tpm, cc::STARTUP, None, &[0, 0]);
        for (key, public) in keys.into_iter().zip(&before) {
            assert_eq!(tpm.endorsement_key(key).unwrap(), public);
            let response = run(
                &mut tpm,
                cc::CREATE_PRIMARY,
                Some(rh::ENDORSEMENT),
                &parameters(key),
            );
            let expected = to_buf::<512>(public).unwrap();
            // Header, handle, size of the parameters, size of the public area.
            assert_eq!(&response[20..20 + expected.len()], expected.as_slice());
        }
        run(&mut tpm, cc::CHANGE_EPS, Some(rh::PLATFORM), &[]);
        for (key, public) in keys.into_iter().zip(&before).take(2) {
            assert_ne!(tpm.endorsement_key(key).unwrap(), public);
        }
    }
}
