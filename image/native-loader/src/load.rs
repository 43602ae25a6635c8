//! Loading the image: the checks are igvm-loader's, this is the machine that it loads into.

use igvm_loader::native::Flat32;
use igvm_loader::{Image, Machine, Page, PageKind, Platform, Problem};

use crate::arch::memory::{Guest, Kept};
use crate::exit::ExitStatus;
use crate::host::Host;
use crate::{fatal, say};

/// What the machine cannot do although the image is good.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("page at GPA {gpa:#x}: {why}")]
    Page { gpa: u64, why: Kept },
    #[error("VP {vp}: {problem}")]
    Context { vp: u16, problem: Problem },
    #[error("there is a context for VP {vp}: only VP 0 starts from the image")]
    OtherVp { vp: u16 },
}

struct Loading<'a> {
    guest: &'a mut Guest,
    context: Option<Flat32>,
}

/// Loads the image and returns VP 0's context, or ends with a message.
pub fn load(host: &Host, guest: &mut Guest) -> Flat32 {
    let bytes = guest.image();
    let selection = match Image::parse(bytes).and_then(|image| image.select(Platform::Native)) {
        Ok(selection) => selection,
        Err(error) => fatal!(ExitStatus::BadImage, "{error}"),
    };
    let mut machine = Loading {
        guest,
        context: None,
    };
    let summary = match selection.load(&host.parameters(), &mut machine) {
        Ok(summary) => summary,
        Err(error) => fatal!(ExitStatus::BadImage, "{error}"),
    };
    let Some(context) = machine.context else {
        fatal!(ExitStatus::BadImage, "the image has no context for VP 0");
    };
    say!(
        "{} pages and {} parameter pages loaded, VP 0 starts at {:#x}",
        summary.pages,
        summary.parameter_pages,
        context.eip
    );
    context
}

impl Machine for Loading<'_> {
    type Error = Refusal;

    /// SEV-SNP's: igvm-loader lets no image of ours have one.
    fn guest_policy(&mut self, _: u64) -> Result<(), Refusal> {
        Ok(())
    }

    /// In RAM, says igvm-loader.
    fn required_memory(&mut self, _: u64, _: u64) -> Result<(), Refusal> {
        Ok(())
    }

    fn page(&mut self, gpa: u64, _: PageKind, contents: &Page) -> Result<(), Refusal> {
        self.guest
            .write(gpa, contents)
            .map_err(|why| Refusal::Page { gpa, why })
    }

    fn vp_context(&mut self, vp: u16, _: u64, contents: &Page) -> Result<(), Refusal> {
        if vp != 0 {
            return Err(Refusal::OtherVp { vp });
        }
        let context = Flat32::read(contents).map_err(|problem| Refusal::Context { vp, problem })?;
        self.context = Some(context);
        Ok(())
    }
}
