//! The file against others' opinions of it: the `igvm` library's parser, and digests computed without this project's code.

mod common;

use std::process::Command;

use common::{image, scratch, tool};
use igvm::{IgvmDirectiveHeader, IgvmFile, IsolationType};
use igvm_defs::IgvmPageDataType;
use igvm_loader::{Body, Image, PageKind, ParameterKind, Platform};
use sha2::{Digest, Sha384};
use zerocopy::IntoBytes;

fn library(bytes: &[u8]) -> IgvmFile {
    IgvmFile::new_from_binary(bytes, Some(IsolationType::Snp)).unwrap()
}

#[test]
fn the_library_reads_it_and_writes_the_same_bytes() {
    let bytes = image();
    let mut again = Vec::new();
    // For all platforms.
    let file = IgvmFile::new_from_binary(&bytes, None).unwrap();
    file.serialize(&mut again).unwrap();
    assert!(bytes == again);
}

#[test]
fn loader_and_library_see_the_same_directives() {
    let bytes = image();
    let library = library(&bytes);
    let selection = Image::parse(&bytes)
        .unwrap()
        .select(Platform::SevSnp)
        .unwrap();
    let headers: Vec<_> = selection.headers().map(Result::unwrap).collect();
    let (policies, directives) = headers.split_at(1);
    assert!(matches!(
        policies[0].body,
        Body::GuestPolicy { policy: 0x3_0000 }
    ));
    assert_eq!(library.initializations().len(), 1);
    assert_eq!(directives.len(), library.directives().len());
    for (ours, theirs) in directives.iter().zip(library.directives()) {
        assert_same(ours.body, theirs);
    }
}

fn assert_same(ours: Body<'_>, theirs: &IgvmDirectiveHeader) {
    use IgvmDirectiveHeader as Theirs;
    match (ours, theirs) {
        (
            Body::PageData {
                gpa,
                kind,
                contents,
            },
            Theirs::PageData {
                gpa: their_gpa,
                data_type,
                data,
                flags,
                ..
            },
        ) => {
            assert_eq!(gpa, *their_gpa);
            let their_kind = match (*data_type, data.is_empty(), flags.unmeasured()) {
                (IgvmPageDataType::NORMAL, _, true) => PageKind::Unmeasured,
                (IgvmPageDataType::NORMAL, true, _) => PageKind::Zero,
                (IgvmPageDataType::NORMAL, false, _) => PageKind::Normal,
                (IgvmPageDataType::SECRETS, ..) => PageKind::Secrets,
                _ => PageKind::Cpuid,
            };
            assert_eq!(kind, their_kind, "{gpa:#x}");
            assert_eq!(contents.map_or(&[][..], |page| page), &data[..]);
        }
        (
            Body::ParameterArea {
                index,
                bytes,
                initial,
            },
            Theirs::ParameterArea {
                number_of_bytes,
                parameter_area_index,
                initial_data,
            },
        ) => {
            assert_eq!((index, bytes), (*parameter_area_index, *number_of_bytes));
            assert_eq!(initial.unwrap_or(&[]), &initial_data[..]);
        }
        (
            Body::Parameter {
                kind,
                index,
                byte_offset,
            },
            theirs,
        ) => {
            let (their_kind, info) = match theirs {
                Theirs::VpCount(info) => (ParameterKind::VpCount, info),
                Theirs::EnvironmentInfo(info) => (ParameterKind::EnvironmentInfo, info),
                Theirs::Madt(info) => (ParameterKind::Madt, info),
                Theirs::MemoryMap(info) => (ParameterKind::MemoryMap, info),
                other => panic!("{other}"),
            };
            assert_eq!(
                (kind, index, byte_offset),
                (their_kind, info.parameter_area_index, info.byte_offset)
            );
        }
        (Body::ParameterInsert { gpa, index }, Theirs::ParameterInsert(info)) => {
            assert_eq!((gpa, index), (info.gpa, info.parameter_area_index));
        }
        (
            Body::RequiredMemory { gpa, bytes },
            Theirs::RequiredMemory {
                gpa: their_gpa,
                number_of_bytes,
                ..
            },
        ) => {
            assert_eq!((gpa, bytes), (*their_gpa, u64::from(*number_of_bytes)));
        }
        (
            Body::VpContext {
                gpa,
                vp_index,
                contents,
            },
            Theirs::SnpVpContext {
                gpa: their_gpa,
                vp_index: their_index,
                vmsa,
                ..
            },
        ) => {
            assert_eq!((gpa, vp_index), (*their_gpa, *their_index));
            assert_eq!(contents, vmsa.as_bytes());
        }
        (ours, theirs) => panic!("{ours:?} is not {theirs}"),
    }
}

/// The digest from what the library read, PAGE_INFO written byte by byte (56860 §8.17.2).
fn independent_digest(file: &IgvmFile) -> [u8; 48] {
    let mut digest = [0u8; 48];
    let mut areas = std::collections::HashMap::new();
    let mut add = |page_type: u8, gpa: u64, measured: Option<&[u8]>| {
        let mut info = [0u8; 0x70];
        info[..0x30].copy_from_slice(&digest);
        if let Some(contents) = measured {
            info[0x30..0x60].copy_from_slice(&Sha384::digest(contents));
        }
        info[0x60..0x62].copy_from_slice(&0x70u16.to_le_bytes());
        info[0x62] = page_type;
        info[0x68..].copy_from_slice(&gpa.to_le_bytes());
        digest = Sha384::digest(info).into();
    };
    for directive in file.directives() {
        match directive {
            IgvmDirectiveHeader::PageData {
                gpa,
                data_type,
                data,
                ..
            } => match *data_type {
                IgvmPageDataType::NORMAL if data.is_empty() => add(3, *gpa, None),
                IgvmPageDataType::NORMAL => add(1, *gpa, Some(data)),
                IgvmPageDataType::SECRETS => add(5, *gpa, None),
                _ => add(6, *gpa, None),
            },
            IgvmDirectiveHeader::ParameterArea {
                number_of_bytes,
                parameter_area_index,
                ..
            } => {
                areas.insert(*parameter_area_index, *number_of_bytes);
            }
            IgvmDirectiveHeader::ParameterInsert(info) => {
                for offset in (0..areas[&info.parameter_area_index]).step_by(4096) {
                    add(4, info.gpa + offset, None);
                }
            }
            IgvmDirectiveHeader::SnpVpContext { gpa, vmsa, .. } => {
                add(2, *gpa, Some(vmsa.as_bytes()))
            }
            _ => {}
        }
    }
    digest
}

#[test]
fn measure_agrees_with_the_firmware_abi() {
    let bytes = image();
    let digest = macadamia_igvm::measure::measure(&bytes).unwrap();
    assert_eq!(digest.as_bytes(), &independent_digest(&library(&bytes)));
}

#[test]
fn measure_agrees_with_the_python_script() {
    let path = scratch("agreement.igvm", &image());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/launch_digest.py");
    let Ok(python) = Command::new("python3").arg(script).arg(&path).output() else {
        eprintln!("no python3 here: this opinion is not heard");
        return;
    };
    assert!(
        python.status.success(),
        "{}",
        String::from_utf8_lossy(&python.stderr)
    );
    let measured = tool(&["measure", path.to_str().unwrap()]);
    assert!(measured.status.success());
    assert_eq!(
        String::from_utf8_lossy(&measured.stdout),
        String::from_utf8_lossy(&python.stdout)
    );
    let json = tool(&["measure", "--json", path.to_str().unwrap()]);
    let json = String::from_utf8_lossy(&json.stdout).into_owned();
    let digest = String::from_utf8_lossy(&python.stdout).trim().to_owned();
    assert_eq!(
        json.trim(),
        format!(
            "{{\"platform\": \"SEV-SNP\", \"algorithm\": \"SHA-384\", \"launch_digest\": \"{digest}\"}}"
        )
    );
}
