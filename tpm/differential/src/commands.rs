//! The commands: names, handles, and the shapes of their responses.

/// What the runner knows about a command.
#[derive(Debug)]
pub struct Command {
    /// TPM_CC.
    pub code: u32,
    /// The specification's name without TPM2_.
    pub name: &'static str,
    /// Handles in the command.
    pub handles: usize,
    /// How many of them need an authorization.
    pub auths: usize,
    /// Whether the response begins with a handle.
    pub returns_handle: bool,
    /// The response parameters, see [`crate::shape`].
    pub shape: &'static str,
}

macro_rules! table {
    ($($code:literal $name:ident $handles:literal $auths:literal $handle:literal $shape:literal;)*) => {
        &[$(Command {
            code: $code,
            name: stringify!($name),
            handles: $handles,
            auths: $auths,
            returns_handle: $handle == 1,
            shape: $shape,
        }),*]
    };
}

/// All commands of the profile, by code.
pub const COMMANDS: &[Command] = table! {
    0x11F NV_UndefineSpaceSpecial 2 2 0 "";
    0x120 EvictControl 2 1 0 "";
    0x121 HierarchyControl 1 1 0 "";
    0x122 NV_UndefineSpace 2 1 0 "";
    0x124 ChangeEPS 1 1 0 "";
    0x125 ChangePPS 1 1 0 "";
    0x126 Clear 1 1 0 "";
    0x127 ClearControl 1 1 0 "";
    0x128 ClockSet 1 1 0 "";
    0x129 HierarchyChangeAuth 1 1 0 "";
    0x12A NV_DefineSpace 1 1 0 "";
    0x12B PCR_Allocate 1 1 0 "1 4 4 4?";
    0x12C PCR_SetAuthPolicy 1 1 0 "";
    0x12D PP_Commands 1 1 0 "";
    0x12E SetPrimaryPolicy 1 1 0 "";
    0x130 ClockRateAdjust 1 1 0 "";
    0x131 CreatePrimary 1 1 1 "P C b T b";
    0x132 NV_GlobalWriteLock 1 1 0 "";
    0x133 GetCommandAuditDigest 2 2 0 "A S";
    0x134 NV_Increment 2 1 0 "";
    0x135 NV_SetBits 2 1 0 "";
    0x136 NV_Extend 2 1 0 "";
    0x137 NV_Write 2 1 0 "";
    0x138 NV_WriteLock 2 1 0 "";
    0x139 DictionaryAttackLockReset 1 1 0 "";
    0x13A DictionaryAttackParameters 1 1 0 "";
    0x13B NV_ChangeAuth 1 1 0 "";
    0x13C PCR_Event 1 1 0 "H";
    0x13D PCR_Reset 1 1 0 "";
    0x13E SequenceComplete 1 1 0 "b T";
    0x13F SetAlgorithmSet 1 1 0 "";
    0x140 SetCommandCodeAuditStatus 1 1 0 "";
    0x142 IncrementalSelfTest 0 0 0 "G";
    0x143 SelfTest 0 0 0 "";
    0x144 Startup 0 0 0 "";
    0x145 Shutdown 0 0 0 "";
    0x146 StirRandom 0 0 0 "";
    0x147 ActivateCredential 2 2 0 "B";
    0x148 Certify 2 2 0 "A S";
    0x149 PolicyNV 3 1 0 "";
    0x14A CertifyCreation 2 1 0 "A S";
    0x14B Duplicate 2 1 0 "b b b";
    0x14C GetTime 2 2 0 "A S";
    0x14D GetSessionAuditDigest 3 2 0 "A S";
    0x14E NV_Read 2 1 0 "B";
    0x14F NV_ReadLock 2 1 0 "";
    0x150 ObjectChangeAuth 2 1 0 "b";
    0x151 PolicySecret 2 1 0 "b T";
    0x152 Rewrap 2 1 0 "b b";
    0x153 Create 1 1 0 "b P C b T";
    0x154 ECDH_ZGen 1 1 0 "p";
    0x155 HMAC 1 1 0 "b";
    0x156 Import 1 1 0 "b";
    0x157 Load 1 1 1 "b";
    0x158 Quote 1 1 0 "A S";
    0x159 RSA_Decrypt 1 1 0 "b";
    0x15B HMAC_Start 1 1 1 "";
    0x15C SequenceUpdate 1 1 0 "";
    0x15D Sign 1 1 0 "S";
    0x15E Unseal 1 1 0 "b";
    0x160 PolicySigned 2 0 0 "b T";
    0x161 ContextLoad 0 0 1 "";
    0x162 ContextSave 1 0 0 "X";
    0x163 ECDH_KeyGen 1 0 0 "p p";
    0x164 EncryptDecrypt 1 1 0 "b b";
    0x165 FlushContext 0 0 0 "";
    0x167 LoadExternal 0 0 1 "b";
    0x168 MakeCredential 1 0 0 "b b";
    0x169 NV_ReadPublic 1 0 0 "B B";
    0x16A PolicyAuthorize 1 0 0 "";
    0x16B PolicyAuthValue 1 0 0 "";
    0x16C PolicyCommandCode 1 0 0 "";
    0x16D PolicyCounterTimer 1 0 0 "";
    0x16E PolicyCpHash 1 0 0 "";
    0x16F PolicyLocality 1 0 0 "";
    0x170 PolicyNameHash 1 0 0 "";
    0x171 PolicyOR 1 0 0 "";
    0x172 PolicyTicket 1 0 0 "";
    0x173 ReadPublic 1 0 0 "P b b";
    0x174 RSA_Encrypt 1 0 0 "b";
    0x176 StartAuthSession 2 0 1 "b";
    0x177 VerifySignature 1 0 0 "T";
    0x178 ECC_Parameters 0 0 0 "*";
    0x17A GetCapability 0 0 0 "1? K";
    0x17B GetRandom 0 0 0 "b";
    0x17C GetTestResult 0 0 0 "~ 4";
    0x17D Hash 0 0 0 "B T";
    0x17E PCR_Read 0 0 0 "4? L D";
    0x17F PolicyPCR 1 0 0 "";
    0x180 PolicyRestart 1 0 0 "";
    0x181 ReadClock 0 0 0 "t";
    0x182 PCR_Extend 1 1 0 "";
    0x183 PCR_SetAuthValue 1 1 0 "";
    0x184 NV_Certify 3 2 0 "A S";
    0x185 EventSequenceComplete 2 2 0 "H";
    0x186 HashSequenceStart 0 0 1 "";
    0x187 PolicyPhysicalPresence 1 0 0 "";
    0x188 PolicyDuplicationSelect 1 0 0 "";
    0x189 PolicyGetDigest 1 0 0 "b";
    0x18A TestParms 0 0 0 "";
    0x18B Commit 1 1 0 "p p p 2?";
    0x18C PolicyPassword 1 0 0 "";
    0x18D ZGen_2Phase 1 1 0 "p p";
    0x18E EC_Ephemeral 0 0 0 "p 2?";
    0x18F PolicyNvWritten 1 0 0 "";
    0x190 PolicyTemplate 1 0 0 "";
    0x191 CreateLoaded 1 1 1 "b P b";
    0x192 PolicyAuthorizeNV 3 1 0 "";
    0x193 EncryptDecrypt2 1 1 0 "b b";
};

/// The command of a code.
pub fn command(code: u32) -> Option<&'static Command> {
    COMMANDS.iter().find(|command| command.code == code)
}

/// Its name, or the code.
pub fn name(code: u32) -> String {
    command(code).map_or(format!("{code:#x}"), |command| command.name.to_string())
}

/// Whether the authorization value in the HMAC of the response is the one of the command: these commands change or
/// remove the entity (TPM Part 1 §17.6.5), and the runner does not follow that.
pub fn keeps_auth(code: u32) -> bool {
    !matches!(
        code,
        0x129 | 0x126 | 0x13B | 0x122 | 0x11F | 0x124 | 0x125 | 0x121 | 0x13E | 0x185
    )
}
