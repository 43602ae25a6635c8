//! The walk over the variable headers: lengths, padding, and the order of the sections.

use crate::decode::decode;
use crate::error::{FileError, Problem};
use crate::file::Image;
use crate::header::Header;
use crate::reader::{expect, read};

/// The three sections of variable headers, which must follow each other.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Section {
    Platform,
    Initialization,
    Directive,
}

impl Section {
    fn of(typ: u32) -> Option<Section> {
        if igvm_defs::IGVM_VHT_RANGE_PLATFORM.contains(&typ) {
            Some(Section::Platform)
        } else if igvm_defs::IGVM_VHT_RANGE_INIT.contains(&typ) {
            Some(Section::Initialization)
        } else if igvm_defs::IGVM_VHT_RANGE_DIRECTIVE.contains(&typ) {
            Some(Section::Directive)
        } else {
            None
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Section::Platform => "platform",
            Section::Initialization => "initialization",
            Section::Directive => "directive",
        }
    }
}

/// Iterator over variable headers; made by [`Image::headers`]. It ends after the first error.
#[derive(Clone, Debug)]
pub struct Headers<'a> {
    image: Image<'a>,
    next: usize,
    end: usize,
    section: Section,
}

impl<'a> Headers<'a> {
    /// The headers of `image` between two offsets.
    pub(crate) const fn new(image: Image<'a>, start: usize, end: usize) -> Headers<'a> {
        Headers {
            image,
            next: start,
            end,
            section: Section::Platform,
        }
    }

    fn advance(&mut self) -> Result<Header<'a>, FileError> {
        let start = self.next;
        let offset = start as u64;
        let rest = self.image.bytes().get(start..self.end).unwrap_or(&[]);
        let [typ, length] = read::<[zerocopy::little_endian::U32; 2]>(
            rest,
            offset,
            "a variable header's type and length",
        )?;
        let (typ, length) = (typ.get(), length.get() as usize);
        let body = rest.get(8..).unwrap_or(&[]);
        let padded = length
            .checked_next_multiple_of(8)
            .filter(|&padded| padded <= body.len());
        let Some(padded) = padded else {
            return Err(Problem::TooShort {
                what: "a variable header's content",
                size: length as u64,
                available: body.len() as u64,
            }
            .at(offset));
        };
        let (content, padding) = body[..padded].split_at(length);
        if let Some(&byte) = padding.iter().find(|&&byte| byte != 0) {
            expect("a variable header's padding", byte, 0u32, offset)?;
        }
        let plain = typ & !igvm_defs::IGVM_VHT_OPTIONAL_BIT;
        if let Some(section) = Section::of(plain) {
            if section < self.section {
                return Err(Problem::Order {
                    typ,
                    section: section.name(),
                }
                .at(offset));
            }
            self.section = section;
        }
        self.next = start + 8 + padded;
        decode(&self.image, typ, content, offset)
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = Result<Header<'a>, FileError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next >= self.end {
            return None;
        }
        let header = self.advance();
        if header.is_err() {
            self.next = self.end;
        }
        Some(header)
    }
}
