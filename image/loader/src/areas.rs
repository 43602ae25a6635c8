//! Parameter areas: buffers that the host's parameters are written into, until they are launched.

use alloc::vec::Vec;

use zerocopy::IntoBytes;

use crate::error::Problem;
use crate::header::ParameterKind;
use crate::host::HostParameters;
use crate::{MAX_PARAMETER_AREAS, MemoryMapEntry, PAGE_SIZE, Page, push};

const ZEROS: Page = [0; PAGE_SIZE];

/// The areas that were declared so far.
#[derive(Default)]
pub(crate) struct Areas(Vec<Area>);

/// A parameter area; no buffer after it was inserted.
struct Area {
    index: u32,
    buffer: Option<Vec<u8>>,
}

impl Areas {
    /// Makes an area.
    pub(crate) fn declare(
        &mut self,
        index: u32,
        bytes: u64,
        initial: Option<&[u8]>,
    ) -> Result<(), Problem> {
        if self.0.iter().any(|area| area.index == index) {
            return Err(Problem::Duplicate {
                what: "parameter area",
                value: index.into(),
            });
        }
        if self.0.len() == MAX_PARAMETER_AREAS {
            return Err(Problem::TooMany {
                what: "parameter areas",
                limit: MAX_PARAMETER_AREAS,
            });
        }
        let mut buffer = Vec::new();
        let no_memory = Problem::OutOfMemory {
            what: "a parameter area",
            size: bytes,
        };
        buffer
            .try_reserve_exact(bytes as usize)
            .map_err(|_| no_memory)?;
        match initial {
            Some(initial) => buffer.extend_from_slice(initial),
            None => buffer.resize(bytes as usize, 0),
        }
        push(
            &mut self.0,
            Area {
                index,
                buffer: Some(buffer),
            },
        )
    }

    /// The buffer of an area that is declared and not yet inserted.
    fn area(&mut self, index: u32) -> Result<&mut Option<Vec<u8>>, Problem> {
        let area = self.0.iter_mut().find(|area| area.index == index);
        match area {
            None => Err(Problem::UndeclaredArea { index }),
            Some(area) if area.buffer.is_none() => Err(Problem::InsertedArea { index }),
            Some(area) => Ok(&mut area.buffer),
        }
    }

    /// Writes a parameter. Without a host only whether its place is in the area is checked.
    pub(crate) fn put(
        &mut self,
        host: Option<&HostParameters<'_>>,
        kind: ParameterKind,
        index: u32,
        byte_offset: u32,
    ) -> Result<(), Problem> {
        let Some(buffer) = self.area(index)? else {
            return Err(Problem::InsertedArea { index });
        };
        let mut at = byte_offset as usize;
        let mut put = |bytes: &[u8], size: usize| {
            let area_bytes = buffer.len() as u64;
            let place = at
                .checked_add(bytes.len())
                .and_then(|end| buffer.get_mut(at..end));
            at += bytes.len();
            place
                .map(|place| place.copy_from_slice(bytes))
                .ok_or(Problem::DoesNotFit {
                    what: kind.name(),
                    size: size as u64,
                    offset: byte_offset.into(),
                    index,
                    bytes: area_bytes,
                })
        };
        let Some(host) = host else {
            // Only whether the place is in the area at all can be told.
            let least = match kind {
                ParameterKind::VpCount | ParameterKind::EnvironmentInfo => 4,
                ParameterKind::Madt | ParameterKind::MemoryMap => 0,
            };
            return put(&ZEROS[..least], least);
        };
        match kind {
            ParameterKind::VpCount => put(&host.vp_count.to_le_bytes(), 4),
            ParameterKind::EnvironmentInfo => {
                put(&u32::from(host.memory_is_shared).to_le_bytes(), 4)
            }
            ParameterKind::Madt => put(host.madt, host.madt.len()),
            ParameterKind::MemoryMap => {
                let size = size_of_val(host.memory_map);
                host.memory_map
                    .iter()
                    .try_for_each(|entry| put(entry.as_bytes(), size))?;
                // The terminating entry, where there is room.
                let _ = put(&ZEROS[..size_of::<MemoryMapEntry>()], size);
                Ok(())
            }
        }
    }

    /// Takes an area's buffer for launching; after that the area cannot be used any more.
    pub(crate) fn take(&mut self, index: u32) -> Result<Vec<u8>, Problem> {
        Ok(self.area(index)?.take().unwrap_or_default())
    }
}
