//! Everything that comes from outside of the checkout and of cargo: the one place that names packages and suites.
//! Versions are resolved at run time by [`crate::apt`], because suites move.

/// A program that the project runs, and the package that has it.
#[derive(Clone, Copy, Debug)]
pub struct Tool {
    /// What must be in the search path; of a library, the full path.
    pub program: &'static str,
    /// What to install where it is missing.
    pub package: &'static str,
}

/// QEMU: the machine that everything boots on.
pub const QEMU: Tool = Tool {
    program: "qemu-system-x86_64",
    package: "qemu-system-x86",
};

/// Bochs with its display for terminals, its firmware, a terminal for it, and what makes a disc that it boots from.
pub const BOCHS: [Tool; 8] = [
    Tool {
        program: "bochs",
        package: "bochs",
    },
    Tool {
        program: "/usr/lib/x86_64-linux-gnu/bochs/plugins/libbx_term_gui.so",
        package: "bochs-term",
    },
    Tool {
        program: "/usr/share/bochs/BIOS-bochs-latest",
        package: "bochsbios",
    },
    Tool {
        program: "/usr/share/bochs/VGABIOS-lgpl-latest",
        package: "vgabios",
    },
    Tool {
        program: "script",
        package: "bsdutils",
    },
    Tool {
        program: "grub-mkrescue",
        package: "grub-common",
    },
    Tool {
        program: "/usr/lib/grub/i386-pc/cdboot.img",
        package: "grub-pc-bin",
    },
    Tool {
        program: "xorriso",
        package: "xorriso",
    },
];

/// What speaks with the SVSM's debugger.
pub const GDB: Tool = Tool {
    program: "gdb",
    package: "gdb",
};

/// Decompresses the kernel's modules.
pub const XZ: Tool = Tool {
    program: "xz",
    package: "xz-utils",
};

/// What the flows on the TPM run: the tools, what they reach the TPM simulator's protocol with, an independent checker.
pub const TPM_TOOLS: [Tool; 3] = [
    Tool {
        program: "tpm2_getcap",
        package: "tpm2-tools",
    },
    Tool {
        program: "/usr/lib/x86_64-linux-gnu/libtss2-tcti-mssim.so.0",
        package: "libtss2-tcti-mssim0",
    },
    Tool {
        program: "openssl",
        package: "openssl",
    },
];

/// ACPICA's compiler and disassembler: another reader of ACPI tables.
pub const IASL: Tool = Tool {
    program: "iasl",
    package: "acpica-tools",
};

/// Another TPM, to compare with, and how the tools reach it.
pub const SWTPM: [Tool; 2] = [
    Tool {
        program: "swtpm",
        package: "swtpm",
    },
    Tool {
        program: "/usr/lib/x86_64-linux-gnu/libtss2-tcti-swtpm.so.0",
        package: "libtss2-tcti-swtpm0",
    },
];

/// Which of the versions on offer is wanted.
#[derive(Clone, Copy, Debug)]
pub enum Version<'a> {
    /// The newest.
    Newest,
    /// The newest whose upstream part is this one.
    Upstream(&'a str),
}

/// Packages that are fetched together and unpacked into one folder of the cache; nothing of them is installed.
#[derive(Clone, Copy, Debug)]
pub struct Bundle<'a> {
    /// Name of the folder.
    pub name: &'static str,
    /// Suites, in the order they are asked.
    pub suites: &'static [&'static str],
    /// The package to start from.
    pub package: &'static str,
    /// Packages of the same source, wanted in the same version.
    pub with: &'static [&'static str],
    /// Dependencies whose names start with one of these are fetched too, and theirs.
    pub follow: &'static [&'static str],
    /// Which version.
    pub version: Version<'a>,
}

/// The guest's kernel. Since 7.x Debian splits it: image → binary and modules. With what modules for it are built of:
/// the archive keeps the newest version only, so what must fit together is fetched together.
pub const KERNEL: Bundle<'static> = Bundle {
    name: "linux",
    suites: &["trixie-backports", "forky", "sid"],
    package: "linux-image-cloud-amd64",
    with: &["linux-headers-cloud-amd64"],
    follow: &[
        "linux-image-",
        "linux-binary-",
        "linux-modules-",
        "linux-headers-",
        "linux-kbuild-",
    ],
    version: Version::Newest,
};

/// What the programs in the kernel's headers run with, where the machine's own library is older.
pub const KBUILD_LIBRARIES: Bundle<'static> = Bundle {
    name: "kbuild-libraries",
    suites: &["trixie", "forky", "sid"],
    package: "libelf1t64",
    with: &[],
    follow: &["libc6", "zlib1g", "libzstd1"],
    version: Version::Newest,
};

/// What builds modules.
pub const MODULE_TOOLS: [Tool; 2] = [
    Tool {
        program: "make",
        package: "make",
    },
    COMPILER,
];

/// A C compiler for what the guest has of C: Debian 12's, since the kernel's own is of a newer suite.
pub const COMPILER: Tool = Tool {
    program: "gcc-12",
    package: "gcc-12",
};

/// The guest's userland. From a suite that is named rather than the machine's own, so that the initial RAM disk, and
/// with it the launch digest, is the same everywhere.
pub const BUSYBOX: Bundle<'static> = Bundle {
    name: "busybox",
    suites: &["bookworm"],
    package: "busybox-static",
    with: &[],
    follow: &[],
    version: Version::Newest,
};

/// What the guest shows its TPM with. Without libcurl and all that it needs: see guest/linux/no-curl.
pub const TPM2: Bundle<'static> = Bundle {
    name: "tpm2",
    suites: &["bookworm"],
    package: "tpm2-tools",
    with: &[],
    follow: &["libtss2", "libssl3", "libc6"],
    version: Version::Newest,
};

/// The TPM that ours is measured against. Its OpenSSL too, so that the figures are of the same code everywhere.
pub const LIBTPMS: Bundle<'static> = Bundle {
    name: "libtpms",
    suites: &["bookworm"],
    package: "libtpms-dev",
    with: &[],
    follow: &["libtpms", "libssl"],
    version: Version::Newest,
};

/// The source of the same kernel.
pub const LINUX_SOURCE: Bundle<'static> = Bundle {
    name: "linux-source",
    suites: KERNEL.suites,
    package: "linux-source",
    with: &[],
    follow: &["linux-source-"],
    version: Version::Newest,
};

/// What a kernel is built with, besides the compiler.
pub const KERNEL_TOOLS: [Tool; 6] = [
    XZ,
    Tool {
        program: "make",
        package: "make",
    },
    Tool {
        program: "flex",
        package: "flex",
    },
    Tool {
        program: "bison",
        package: "bison",
    },
    Tool {
        program: "bc",
        package: "bc",
    },
    Tool {
        program: "/usr/include/gelf.h",
        package: "libelf-dev",
    },
];

/// What a guest uses its TPM with. The libraries come with the first two.
pub const TPM_GUEST: [Bundle<'static>; 4] = [
    tpm_guest("tpm2-tools", "tpm2-tools", &["lib", "zlib1g"]),
    tpm_guest("systemd", "systemd", &["lib", "zlib1g"]),
    tpm_guest("cryptsetup", "cryptsetup-bin", &["libpopt"]),
    tpm_guest("keyutils", "keyutils", &["libkeyutils"]),
];

/// What the flows check a guest's TPM with.
pub const OPENSSL: Bundle<'static> = tpm_guest("openssl", "openssl", &["libssl3", "libc6"]);

/// What the kernel's own tests of its TPM are written in.
pub const PYTHON: Bundle<'static> = tpm_guest(
    "python",
    "python3.11",
    &[
        "python3.11-minimal",
        "libpython3.11",
        "libexpat1",
        "zlib1g",
        "libc6",
    ],
);

const fn tpm_guest(
    name: &'static str,
    package: &'static str,
    follow: &'static [&'static str],
) -> Bundle<'static> {
    Bundle {
        name,
        suites: &["bookworm"],
        package,
        with: &[],
        follow,
        version: Version::Newest,
    }
}

/// The source of `core` and `alloc`, which must be the compiler's own version.
pub const fn rust_source(compiler: &str) -> Bundle<'_> {
    Bundle {
        name: "rust-src",
        suites: &["trixie-backports", "forky", "sid"],
        package: "rust-src",
        with: &[],
        follow: &[],
        version: Version::Upstream(compiler),
    }
}

/// Where a package has the library's source.
pub const RUST_LIBRARY: &str = "usr/src";

/// A second QEMU for Debian 12, newer than its own.
pub const NEWER_QEMU: Upgrade = Upgrade {
    name: "qemu-newer",
    suites: &["bookworm", "bookworm-backports"],
    package: "qemu-system-x86",
};

/// A package with everything it needs beyond what is installed, unpacked into one folder.
#[derive(Clone, Copy, Debug)]
pub struct Upgrade {
    /// Name of the folder.
    pub name: &'static str,
    /// Suites to take from; the last one is preferred.
    pub suites: &'static [&'static str],
    /// The package.
    pub package: &'static str,
}

/// The keyring that all of them are verified with; Debian installs it with apt.
pub const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
