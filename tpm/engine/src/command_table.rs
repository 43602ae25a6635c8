//! The commands of the profile: codes, handles, roles, attributes (Part 3; TPMA_CC in Part 2 §8.9).

use crate::commands;
use crate::context::Context;
use crate::rc::Result;
use crate::types::cc;

/// What a handle in a command's handle area may be. Anything else is TPM_RC_VALUE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HandleKind {
    /// Transient or persistent object, or sequence.
    Object,
    /// The same, or TPM_RH_NULL.
    ObjectOrNull,
    /// Object or hierarchy, TPM_RH_NULL too.
    Parent,
    /// TPM_RH_OWNER, ENDORSEMENT, PLATFORM, NULL.
    Hierarchy,
    /// TPM_RH_OWNER, ENDORSEMENT, PLATFORM.
    BaseHierarchy,
    /// TPM_RH_OWNER, ENDORSEMENT, PLATFORM, LOCKOUT.
    HierarchyAuth,
    /// TPM_RH_OWNER, PLATFORM.
    Provision,
    /// TPM_RH_LOCKOUT, PLATFORM.
    Clear,
    /// TPM_RH_PLATFORM.
    Platform,
    /// TPM_RH_ENDORSEMENT.
    Endorsement,
    /// TPM_RH_LOCKOUT.
    Lockout,
    /// A PCR.
    Pcr,
    /// A PCR or TPM_RH_NULL.
    PcrOrNull,
    /// NV index.
    NvIndex,
    /// TPM_RH_OWNER, PLATFORM, or NV index.
    NvAuth,
    /// Anything that has an authorization value (TPMI_DH_ENTITY).
    Entity,
    /// The same, or TPM_RH_NULL.
    EntityOrNull,
    /// A policy session.
    Policy,
    /// An HMAC session.
    HmacSession,
    /// What can be saved: a transient object or sequence, a session.
    Saveable,
}

/// What authorization a handle needs (Part 1 §19.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// None.
    None,
    /// USER.
    User,
    /// ADMIN.
    Admin,
    /// DUP.
    Dup,
}

/// May change what is stored (TPMA_CC.nv).
pub(crate) const NV: u8 = 1 << 0;
/// May flush any number of contexts (TPMA_CC.extensive).
pub(crate) const EXTENSIVE: u8 = 1 << 1;
/// Flushes a transient object of its handle area (TPMA_CC.flushed).
pub(crate) const FLUSHED: u8 = 1 << 2;
/// Returns a handle (TPMA_CC.rHandle).
pub(crate) const RHANDLE: u8 = 1 << 3;
/// Takes no sessions at all.
pub(crate) const NO_SESSIONS: u8 = 1 << 4;
/// Its first parameter can be encrypted.
pub(crate) const DECRYPT: u8 = 1 << 5;
/// The first parameter of its response can be encrypted.
pub(crate) const ENCRYPT: u8 = 1 << 6;
/// TPM2_PP_Commands can make it need physical presence.
pub(crate) const PP: u8 = 1 << 7;

/// One command.
pub(crate) struct CommandInfo {
    /// TPM_CC.
    pub cc: u32,
    /// Its handle area.
    pub handles: &'static [(HandleKind, Role)],
    /// Bits of the constants above.
    pub flags: u8,
    /// Its handler.
    pub run: fn(&mut Context<'_>) -> Result<()>,
}

impl CommandInfo {
    /// Whether `flag` is set.
    pub const fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// TPMA_CC.
    pub fn attributes(&self) -> u32 {
        let bit = |flag, at: u32| u32::from(self.has(flag)).wrapping_shl(at);
        (self.cc & 0xFFFF)
            | bit(NV, 22)
            | bit(EXTENSIVE, 23)
            | bit(FLUSHED, 24)
            | (self.handles.len() as u32 & 7).wrapping_shl(25)
            | bit(RHANDLE, 28)
    }
}

use HandleKind as K;
use Role as R;

const fn row(
    cc: u32,
    handles: &'static [(HandleKind, Role)],
    flags: u8,
    run: fn(&mut Context<'_>) -> Result<()>,
) -> CommandInfo {
    CommandInfo {
        cc,
        handles,
        flags,
        run,
    }
}

/// The row of command `cc`.
pub(crate) fn find(cc: u32) -> Option<&'static CommandInfo> {
    // Codes are dense: the row of a code is at most a few places before its distance from the first.
    COMMANDS
        .binary_search_by_key(&cc, |info| info.cc)
        .ok()
        .and_then(|at| COMMANDS.get(at))
}

/// All commands, in rising order of their codes.
#[rustfmt::skip]
pub(crate) static COMMANDS: &[CommandInfo] = &[
    row(cc::NV_UNDEFINE_SPACE_SPECIAL, &[(K::NvIndex, R::Admin), (K::Platform, R::User)], NV | PP, commands::nv::nv_undefine_space_special),
    row(cc::EVICT_CONTROL, &[(K::Provision, R::User), (K::Object, R::None)], NV | PP, commands::context::evict_control),
    row(cc::HIERARCHY_CONTROL, &[(K::BaseHierarchy, R::User)], NV | EXTENSIVE | PP, commands::hierarchy::hierarchy_control),
    row(cc::NV_UNDEFINE_SPACE, &[(K::Provision, R::User), (K::NvIndex, R::None)], NV | PP, commands::nv::nv_undefine_space),
    row(cc::CHANGE_EPS, &[(K::Platform, R::User)], NV | EXTENSIVE | PP, commands::hierarchy::change_eps),
    row(cc::CHANGE_PPS, &[(K::Platform, R::User)], NV | EXTENSIVE | PP, commands::hierarchy::change_pps),
    row(cc::CLEAR, &[(K::Clear, R::User)], NV | EXTENSIVE | PP, commands::hierarchy::clear),
    row(cc::CLEAR_CONTROL, &[(K::Clear, R::User)], NV | PP, commands::hierarchy::clear_control),
    row(cc::CLOCK_SET, &[(K::Provision, R::User)], NV | PP, commands::clock::clock_set),
    row(cc::HIERARCHY_CHANGE_AUTH, &[(K::HierarchyAuth, R::User)], NV | PP | DECRYPT, commands::hierarchy::hierarchy_change_auth),
    row(cc::NV_DEFINE_SPACE, &[(K::Provision, R::User)], NV | PP | DECRYPT, commands::nv::nv_define_space),
    row(cc::PCR_ALLOCATE, &[(K::Platform, R::User)], NV | PP, commands::integrity::pcr_allocate),
    row(cc::PCR_SET_AUTH_POLICY, &[(K::Platform, R::User)], NV | PP | DECRYPT, commands::integrity::pcr_set_auth_policy),
    row(cc::PP_COMMANDS, &[(K::Platform, R::User)], NV | PP, commands::misc::pp_commands),
    row(cc::SET_PRIMARY_POLICY, &[(K::HierarchyAuth, R::User)], NV | PP | DECRYPT, commands::hierarchy::set_primary_policy),
    row(cc::CLOCK_RATE_ADJUST, &[(K::Provision, R::User)], PP, commands::clock::clock_rate_adjust),
    row(cc::CREATE_PRIMARY, &[(K::Hierarchy, R::User)], PP | DECRYPT | ENCRYPT | RHANDLE, commands::primary::create_primary),
    row(cc::NV_GLOBAL_WRITE_LOCK, &[(K::Provision, R::User)], NV | PP, commands::nv::nv_global_write_lock),
    row(cc::GET_COMMAND_AUDIT_DIGEST, &[(K::Endorsement, R::User), (K::ObjectOrNull, R::User)], NV | DECRYPT | ENCRYPT, commands::attestation::get_command_audit_digest),
    row(cc::NV_INCREMENT, &[(K::NvAuth, R::User), (K::NvIndex, R::None)], NV, commands::nv::nv_increment),
    row(cc::NV_SET_BITS, &[(K::NvAuth, R::User), (K::NvIndex, R::None)], NV, commands::nv::nv_set_bits),
    row(cc::NV_EXTEND, &[(K::NvAuth, R::User), (K::NvIndex, R::None)], NV | DECRYPT, commands::nv::nv_extend),
    row(cc::NV_WRITE, &[(K::NvAuth, R::User), (K::NvIndex, R::None)], NV | DECRYPT, commands::nv::nv_write),
    row(cc::NV_WRITE_LOCK, &[(K::NvAuth, R::User), (K::NvIndex, R::None)], NV, commands::nv::nv_write_lock),
    row(cc::DICTIONARY_ATTACK_LOCK_RESET, &[(K::Lockout, R::User)], NV, commands::dictionary::dictionary_attack_lock_reset),
    row(cc::DICTIONARY_ATTACK_PARAMETERS, &[(K::Lockout, R::User)], NV, commands::dictionary::dictionary_attack_parameters),
    row(cc::NV_CHANGE_AUTH, &[(K::NvIndex, R::Admin)], NV | DECRYPT, commands::nv::nv_change_auth),
    row(cc::PCR_EVENT, &[(K::PcrOrNull, R::User)], NV | DECRYPT, commands::integrity::pcr_event),
    row(cc::PCR_RESET, &[(K::Pcr, R::User)], NV, commands::integrity::pcr_reset),
    row(cc::SEQUENCE_COMPLETE, &[(K::Object, R::User)], DECRYPT | ENCRYPT | FLUSHED, commands::sequence::sequence_complete),
    row(cc::SET_ALGORITHM_SET, &[(K::Platform, R::User)], NV | PP, commands::misc::set_algorithm_set),
    row(cc::SET_COMMAND_CODE_AUDIT_STATUS, &[(K::Provision, R::User)], NV | PP, commands::audit::set_command_code_audit_status),
    row(cc::INCREMENTAL_SELF_TEST, &[], NV, commands::testing::incremental_self_test),
    row(cc::SELF_TEST, &[], NV, commands::testing::self_test),
    row(cc::STARTUP, &[], NV | NO_SESSIONS, commands::startup::startup),
    row(cc::SHUTDOWN, &[], NV, commands::startup::shutdown),
    row(cc::STIR_RANDOM, &[], NV | DECRYPT, commands::random::stir_random),
    row(cc::ACTIVATE_CREDENTIAL, &[(K::Object, R::Admin), (K::Object, R::User)], DECRYPT | ENCRYPT, commands::credential::activate_credential),
    row(cc::CERTIFY, &[(K::Object, R::Admin), (K::ObjectOrNull, R::User)], DECRYPT | ENCRYPT, commands::attestation::certify),
    row(cc::POLICY_NV, &[(K::NvAuth, R::User), (K::NvIndex, R::None), (K::Policy, R::None)], DECRYPT, commands::policy::policy_nv),
    row(cc::CERTIFY_CREATION, &[(K::ObjectOrNull, R::User), (K::Object, R::None)], DECRYPT | ENCRYPT, commands::attestation::certify_creation),
    row(cc::DUPLICATE, &[(K::Object, R::Dup), (K::ObjectOrNull, R::None)], DECRYPT | ENCRYPT, commands::duplication::duplicate),
    row(cc::GET_TIME, &[(K::Endorsement, R::User), (K::ObjectOrNull, R::User)], DECRYPT | ENCRYPT, commands::attestation::get_time),
    row(cc::GET_SESSION_AUDIT_DIGEST, &[(K::Endorsement, R::User), (K::ObjectOrNull, R::User), (K::HmacSession, R::None)], DECRYPT | ENCRYPT, commands::attestation::get_session_audit_digest),
    row(cc::NV_READ, &[(K::NvAuth, R::User), (K::NvIndex, R::None)], ENCRYPT, commands::nv::nv_read),
    row(cc::NV_READ_LOCK, &[(K::NvAuth, R::User), (K::NvIndex, R::None)], NV, commands::nv::nv_read_lock),
    row(cc::OBJECT_CHANGE_AUTH, &[(K::Object, R::Admin), (K::Object, R::None)], DECRYPT | ENCRYPT, commands::object::object_change_auth),
    row(cc::POLICY_SECRET, &[(K::Entity, R::User), (K::Policy, R::None)], DECRYPT | ENCRYPT, commands::policy::policy_secret),
    row(cc::REWRAP, &[(K::ObjectOrNull, R::User), (K::ObjectOrNull, R::None)], DECRYPT | ENCRYPT, commands::duplication::rewrap),
    row(cc::CREATE, &[(K::Object, R::User)], DECRYPT | ENCRYPT, commands::object::create),
    row(cc::ECDH_ZGEN, &[(K::Object, R::User)], DECRYPT | ENCRYPT, commands::asymmetric::ecdh_zgen),
    row(cc::HMAC, &[(K::Object, R::User)], DECRYPT | ENCRYPT, commands::symmetric::hmac),
    row(cc::IMPORT, &[(K::Object, R::User)], DECRYPT | ENCRYPT, commands::duplication::import),
    row(cc::LOAD, &[(K::Object, R::User)], DECRYPT | ENCRYPT | RHANDLE, commands::object::load),
    row(cc::QUOTE, &[(K::ObjectOrNull, R::User)], DECRYPT | ENCRYPT, commands::attestation::quote),
    row(cc::RSA_DECRYPT, &[(K::Object, R::User)], DECRYPT | ENCRYPT, commands::asymmetric::rsa_decrypt),
    row(cc::HMAC_START, &[(K::Object, R::User)], DECRYPT | RHANDLE, commands::sequence::hmac_start),
    row(cc::SEQUENCE_UPDATE, &[(K::Object, R::User)], DECRYPT, commands::sequence::sequence_update),
    row(cc::SIGN, &[(K::Object, R::User)], DECRYPT, commands::signing::sign),
    row(cc::UNSEAL, &[(K::Object, R::User)], ENCRYPT, commands::object::unseal),
    row(cc::POLICY_SIGNED, &[(K::Object, R::None), (K::Policy, R::None)], DECRYPT | ENCRYPT, commands::policy::policy_signed),
    row(cc::CONTEXT_LOAD, &[], NO_SESSIONS | RHANDLE, commands::context::context_load),
    row(cc::CONTEXT_SAVE, &[(K::Saveable, R::None)], NO_SESSIONS, commands::context::context_save),
    row(cc::ECDH_KEYGEN, &[(K::Object, R::None)], ENCRYPT, commands::asymmetric::ecdh_keygen),
    row(cc::ENCRYPT_DECRYPT, &[(K::Object, R::User)], ENCRYPT, commands::symmetric::encrypt_decrypt),
    row(cc::FLUSH_CONTEXT, &[], NO_SESSIONS, commands::context::flush_context),
    row(cc::LOAD_EXTERNAL, &[], DECRYPT | ENCRYPT | RHANDLE, commands::object::load_external),
    row(cc::MAKE_CREDENTIAL, &[(K::Object, R::None)], DECRYPT | ENCRYPT, commands::credential::make_credential),
    row(cc::NV_READ_PUBLIC, &[(K::NvIndex, R::None)], ENCRYPT, commands::nv::nv_read_public),
    row(cc::POLICY_AUTHORIZE, &[(K::Policy, R::None)], DECRYPT, commands::policy::policy_authorize),
    row(cc::POLICY_AUTH_VALUE, &[(K::Policy, R::None)], 0, commands::policy::policy_auth_value),
    row(cc::POLICY_COMMAND_CODE, &[(K::Policy, R::None)], 0, commands::policy::policy_command_code),
    row(cc::POLICY_COUNTER_TIMER, &[(K::Policy, R::None)], DECRYPT, commands::policy::policy_counter_timer),
    row(cc::POLICY_CP_HASH, &[(K::Policy, R::None)], DECRYPT, commands::policy::policy_cp_hash),
    row(cc::POLICY_LOCALITY, &[(K::Policy, R::None)], 0, commands::policy::policy_locality),
    row(cc::POLICY_NAME_HASH, &[(K::Policy, R::None)], DECRYPT, commands::policy::policy_name_hash),
    row(cc::POLICY_OR, &[(K::Policy, R::None)], 0, commands::policy::policy_or),
    row(cc::POLICY_TICKET, &[(K::Policy, R::None)], DECRYPT, commands::policy::policy_ticket),
    row(cc::READ_PUBLIC, &[(K::Object, R::None)], ENCRYPT, commands::object::read_public),
    row(cc::RSA_ENCRYPT, &[(K::Object, R::None)], DECRYPT | ENCRYPT, commands::asymmetric::rsa_encrypt),
    row(cc::START_AUTH_SESSION, &[(K::ObjectOrNull, R::None), (K::EntityOrNull, R::None)], DECRYPT | ENCRYPT | RHANDLE, commands::start_session::start_auth_session),
    row(cc::VERIFY_SIGNATURE, &[(K::Object, R::None)], DECRYPT, commands::signing::verify_signature),
    row(cc::ECC_PARAMETERS, &[], 0, commands::asymmetric::ecc_parameters),
    row(cc::GET_CAPABILITY, &[], 0, commands::capability::get_capability),
    row(cc::GET_RANDOM, &[], ENCRYPT, commands::random::get_random),
    row(cc::GET_TEST_RESULT, &[], ENCRYPT, commands::testing::get_test_result),
    row(cc::HASH, &[], DECRYPT | ENCRYPT, commands::symmetric::hash),
    row(cc::PCR_READ, &[], 0, commands::integrity::pcr_read),
    row(cc::POLICY_PCR, &[(K::Policy, R::None)], DECRYPT, commands::policy::policy_pcr),
    row(cc::POLICY_RESTART, &[(K::Policy, R::None)], 0, commands::start_session::policy_restart),
    row(cc::READ_CLOCK, &[], 0, commands::clock::read_clock),
    row(cc::PCR_EXTEND, &[(K::PcrOrNull, R::User)], NV, commands::integrity::pcr_extend),
    row(cc::PCR_SET_AUTH_VALUE, &[(K::Pcr, R::User)], DECRYPT, commands::integrity::pcr_set_auth_value),
    row(cc::NV_CERTIFY, &[(K::ObjectOrNull, R::User), (K::NvAuth, R::User), (K::NvIndex, R::None)], DECRYPT | ENCRYPT, commands::attestation::nv_certify),
    row(cc::EVENT_SEQUENCE_COMPLETE, &[(K::PcrOrNull, R::User), (K::Object, R::User)], NV | DECRYPT | FLUSHED, commands::sequence::event_sequence_complete),
    row(cc::HASH_SEQUENCE_START, &[], DECRYPT | RHANDLE, commands::sequence::hash_sequence_start),
    row(cc::POLICY_PHYSICAL_PRESENCE, &[(K::Policy, R::None)], 0, commands::policy::policy_physical_presence),
    row(cc::POLICY_DUPLICATION_SELECT, &[(K::Policy, R::None)], DECRYPT, commands::policy::policy_duplication_select),
    row(cc::POLICY_GET_DIGEST, &[(K::Policy, R::None)], ENCRYPT, commands::policy::policy_get_digest),
    row(cc::TEST_PARMS, &[], 0, commands::capability::test_parms),
    row(cc::COMMIT, &[(K::Object, R::User)], DECRYPT | ENCRYPT, commands::ephemeral::commit),
    row(cc::POLICY_PASSWORD, &[(K::Policy, R::None)], 0, commands::policy::policy_password),
    row(cc::ZGEN_2PHASE, &[(K::Object, R::User)], DECRYPT | ENCRYPT, commands::asymmetric::zgen_2phase),
    row(cc::EC_EPHEMERAL, &[], ENCRYPT, commands::ephemeral::ec_ephemeral),
    row(cc::POLICY_NV_WRITTEN, &[(K::Policy, R::None)], 0, commands::policy::policy_nv_written),
    row(cc::POLICY_TEMPLATE, &[(K::Policy, R::None)], DECRYPT, commands::policy::policy_template),
    row(cc::CREATE_LOADED, &[(K::Parent, R::User)], PP | DECRYPT | ENCRYPT | RHANDLE, commands::object::create_loaded),
    row(cc::POLICY_AUTHORIZE_NV, &[(K::NvAuth, R::User), (K::NvIndex, R::None), (K::Policy, R::None)], 0, commands::policy::policy_authorize_nv),
    row(cc::ENCRYPT_DECRYPT_2, &[(K::Object, R::User)], DECRYPT | ENCRYPT, commands::symmetric::encrypt_decrypt_2),
];
