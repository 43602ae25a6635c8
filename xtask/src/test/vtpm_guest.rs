//! Linux with the vTPM of the SVSM: strangers' tests in a guest.

use std::time::Duration;

use anyhow::Result;

use crate::apt;
use crate::compile;
use crate::guest;
use crate::packages;
use crate::paths::Paths;
use crate::qemu::{self, Machine};
use crate::test::runner::{Step, Verdict};
use crate::test::stage::Stage;
use crate::test::tpm::TpmOptions;
use crate::test::tpm_guest::Server;
use crate::test::vtpm_flows::Plan;
use crate::watch::Watch;

/// All of them.
pub fn steps<'a>(
    paths: &'a Paths,
    stage: &'a Stage,
    tpm: &'a TpmOptions,
    long: bool,
) -> Vec<Step<'a>> {
    let guest = VtpmGuest { paths, stage, tpm };
    let mut steps = Vec::new();
    if long {
        steps.push(Step::new("TPM guest, flows", move |_| guest.plain_flows()));
    }
    steps
}

#[derive(Clone, Copy)]
struct VtpmGuest<'a> {
    paths: &'a Paths,
    stage: &'a Stage,
    tpm: &'a TpmOptions,
}

impl VtpmGuest<'_> {
    /// The flows without an SVSM: what fails here is not the vTPM's fault.
    fn plain_flows(&self) -> Result<Verdict> {
        let plan = Plan::new(self.paths, true)?;
        let (kernel, initrd) = {
            let _lock = self.paths.lock()?;
            let linux = apt::obtain(self.paths, &packages::KERNEL)?.root;
            let tools = [apt::obtain(self.paths, &packages::TPM_GUEST[0])?.root];
            let second = self.second()?;
            let initrd = plan.initrd(self.paths, "plain-flows", &tools, &second, &[])?;
            (guest::kernel(&linux)?, initrd)
        };
        let server = Server::new(&self.tpm.program(self.paths)?)?;
        let running = server.start()?;
        let machine = Machine {
            qemu: Stage::need(&self.stage.qemu)?.clone(),
            payload: qemu::Payload::Plain {
                kernel,
                initrd,
                command_line: guest::COMMAND_LINE.to_owned(),
                tpm: Some(qemu::Tpm {
                    control: running.control.clone(),
                    device: "tpm-crb",
                }),
            },
            cpus: 2,
            memory: 1024,
        };
        let outcome = machine.run(self.paths, &watch("plain-flows", 900))?;
        Ok(Verdict::Passed(plan.check(self.paths, &outcome)?))
    }

    /// Another TPM, which runs in the guest.
    fn second(&self) -> Result<std::path::PathBuf> {
        compile::static_program(
            self.paths,
            "macadamia-tpm-server",
            "building the TPM server for guests",
        )
    }
}

fn watch(name: &str, limit: u64) -> Watch {
    Watch {
        name: format!("test-{name}"),
        limit: Duration::from_secs(limit),
        // A flow that hangs is ended by the guest.
        silence: Duration::from_secs(200),
        live: false,
    }
}
