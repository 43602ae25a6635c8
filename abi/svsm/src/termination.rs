//! Why this SVSM asks for termination (GHCB MSR protocol 0x100; 56421 leaves sets above 0 to vendors, Linux uses 1). The
//! line before it on the console has the details, if there is a console yet.

/// The reason set of the SVSM.
pub const SET: u8 = 4;

/// A reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Reason {
    /// A panic: a bug in the SVSM.
    Panic = 0x01,
    /// An exception that the SVSM's own code should not have caused, or could not go on from.
    Exception = 0x02,
    /// The boot stage: CPUID page without SNP, or with an impossible C-bit.
    BootStage = 0x03,
    /// SEV_STATUS lacks what is needed, or has a feature that the SVSM does not know.
    SevStatus = 0x04,
    /// The CPUID page is malformed.
    CpuidPage = 0x05,
    /// The processor lacks a feature that is required.
    Feature = 0x06,
    /// The host's GHCB protocol versions or features do not suffice.
    HostFeatures = 0x07,
    /// The host refused a request, or answered with what cannot be.
    HostAnswer = 0x08,
    /// A page could not be validated, or already was.
    Validation = 0x09,
    /// The SVSM's memory does not suffice.
    OutOfMemory = 0x0A,
    /// The measured parameters do not fit this SVSM.
    BootParams = 0x0B,
    /// The host's memory map is not acceptable.
    MemoryMap = 0x0C,
    /// The host's MADT is not acceptable.
    Madt = 0x0D,
    /// The guest could not be set up.
    GuestLaunch = 0x0E,
    /// The image has no guest: the SVSM booted and there is nothing more to do.
    NoGuest = 0x0F,
    /// The debugger's user ended it.
    Debugger = 0x10,
}

impl Reason {
    /// All of them.
    pub const ALL: [Reason; 16] = [
        Reason::Panic,
        Reason::Exception,
        Reason::BootStage,
        Reason::SevStatus,
        Reason::CpuidPage,
        Reason::Feature,
        Reason::HostFeatures,
        Reason::HostAnswer,
        Reason::Validation,
        Reason::OutOfMemory,
        Reason::BootParams,
        Reason::MemoryMap,
        Reason::Madt,
        Reason::GuestLaunch,
        Reason::NoGuest,
        Reason::Debugger,
    ];

    /// The reason with this number.
    pub fn from_code(code: u8) -> Option<Reason> {
        Reason::ALL.into_iter().find(|&reason| reason as u8 == code)
    }

    /// The reason in words.
    pub const fn meaning(self) -> &'static str {
        match self {
            Reason::Panic => "a panic in the SVSM",
            Reason::Exception => "an exception in the SVSM",
            Reason::BootStage => "the CPUID page does not say SEV-SNP, or has an impossible C-bit",
            Reason::SevStatus => "SEV_STATUS lacks a needed feature or has an unknown one",
            Reason::CpuidPage => "the CPUID page is malformed",
            Reason::Feature => "a required processor feature is missing",
            Reason::HostFeatures => "the hypervisor's GHCB versions or features do not suffice",
            Reason::HostAnswer => "the hypervisor refused a request or gave an impossible answer",
            Reason::Validation => "a page of the SVSM could not be validated",
            Reason::OutOfMemory => "the SVSM's memory does not suffice",
            Reason::BootParams => "the measured boot parameters do not fit this SVSM",
            Reason::MemoryMap => "the memory map is not acceptable",
            Reason::Madt => "the MADT is not acceptable",
            Reason::GuestLaunch => "the guest could not be set up",
            Reason::NoGuest => "the image has no guest; the SVSM booted and is done",
            Reason::Debugger => "the debugger ended it",
        }
    }
}
