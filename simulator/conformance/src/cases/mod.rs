//! The ordinary cases, in groups.

mod access;
mod cpuid_page;
mod doorbell;
mod fpu;
mod ghcb;
mod interrupts;
mod lower;
mod msr_protocol;
mod nae;
mod psc;
mod pvalidate;
mod ring3;
mod rmpadjust;
mod status;
mod switch;
mod timer;
mod vc;
mod vcpu;

/// Groups by name, in the order they run.
pub const GROUPS: &[(&str, fn())] = &[
    ("cpuid-page", cpuid_page::run),
    ("status", status::run),
    ("msr-protocol", msr_protocol::run),
    ("pvalidate", pvalidate::run),
    ("rmpadjust", rmpadjust::run),
    ("access", access::run),
    ("psc", psc::run),
    ("ghcb", ghcb::run),
    ("nae", nae::run),
    ("vc", vc::run),
    ("lower", lower::run),
    ("switch", switch::run),
    ("fpu", fpu::run),
    ("vcpu", vcpu::run),
    ("interrupts", interrupts::run),
    ("doorbell", doorbell::run),
    ("timer", timer::run),
    ("ring3", ring3::run),
];
