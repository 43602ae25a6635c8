//! Rules that a file must keep so that QEMU's IGVM loader and KVM launch it on SNP hardware as this project's tools
//! measure it. Each rule names its source.
//!
//! Sources: the documentation of the crate `igvm_defs`; QEMU's `backends/igvm.c` and `target/i386/sev.c`; Linux's
//! `arch/x86/kvm/svm/sev.c`; 56860 = SEV-SNP firmware ABI.

mod file;
mod order;
mod vmsa;

use anyhow::{Result, bail};
use igvm_loader::{Body, Header, Image, Platform, Selection};

/// Something that must hold.
pub struct Rule {
    /// What must hold, as a statement.
    pub statement: &'static str,
    /// Who says so.
    pub source: &'static str,
    /// Why it does not hold, if it does not.
    test: fn(&Facts<'_>) -> Result<(), String>,
}

/// A rule and whether a file keeps it.
pub struct Verdict {
    /// What must hold.
    pub statement: &'static str,
    /// Who says so.
    pub source: &'static str,
    /// Why it does not hold, if it does not.
    pub result: Result<(), String>,
}

/// What rules look at.
struct Facts<'a> {
    bytes: &'a [u8],
    image: Image<'a>,
    snp: Selection<'a>,
    /// The headers that concern SEV-SNP, in the order of the file.
    headers: Vec<Header<'a>>,
}

impl<'a> Facts<'a> {
    fn gather(bytes: &'a [u8]) -> Result<Facts<'a>> {
        let image = Image::parse(bytes)?;
        let snp = image.select(Platform::SevSnp)?;
        let headers = snp.headers().collect::<Result<_, _>>()?;
        Ok(Facts {
            bytes,
            image,
            snp,
            headers,
        })
    }

    /// The only header for which `pick` gives something.
    fn only<T>(&self, what: &str, pick: impl Fn(&Header<'a>) -> Option<T>) -> Result<T, String> {
        let mut found: Vec<T> = self.headers.iter().filter_map(pick).collect();
        match (found.pop(), found.len()) {
            (Some(one), 0) => Ok(one),
            (None, _) => Err(format!("there is no {what}")),
            (Some(_), more) => Err(format!("there are {} {what}s, expected one", more + 1)),
        }
    }

    /// The VP context: GPA, VP index and contents.
    fn vp_context(&self) -> Result<(u64, u16, &'a igvm_loader::Page), String> {
        self.only("VP context", |header| match header.body {
            Body::VpContext {
                gpa,
                vp_index,
                contents,
            } => Some((gpa, vp_index, contents)),
            _ => None,
        })
    }

    /// Places of the headers for which `pick` is true.
    fn places(&self, pick: impl Fn(&Body<'a>) -> bool) -> impl Iterator<Item = u64> {
        self.headers
            .iter()
            .filter(move |header| pick(&header.body))
            .map(|header| header.offset)
    }
}

/// All rules, in the order of printing.
pub fn rules() -> impl Iterator<Item = &'static Rule> {
    file::RULES.iter().chain(order::RULES).chain(vmsa::RULES)
}

/// Holds a file to every rule.
///
/// # Errors
/// The file is so bad that it has no headers, or none for SEV-SNP, to hold to rules.
pub fn check(bytes: &[u8]) -> Result<Vec<Verdict>> {
    let facts = Facts::gather(bytes)?;
    let verdict = |rule: &Rule| Verdict {
        statement: rule.statement,
        source: rule.source,
        result: (rule.test)(&facts),
    };
    Ok(rules().map(verdict).collect())
}

/// Refuses a file that breaks a rule.
///
/// # Errors
/// The first rule that is broken, and why.
pub fn refuse_bad(bytes: &[u8]) -> Result<()> {
    for verdict in check(bytes)? {
        if let Err(reason) = verdict.result {
            bail!(
                "rule broken: {} ({}): {reason}",
                verdict.statement,
                verdict.source
            );
        }
    }
    Ok(())
}

/// `Err` with the message unless the condition holds.
fn require(condition: bool, message: impl FnOnce() -> String) -> Result<(), String> {
    if condition { Ok(()) } else { Err(message()) }
}
