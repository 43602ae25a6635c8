//! A writer of cpio archives in the "newc" format, which Linux takes as initial RAM disk. Nothing of the machine it
//! runs on gets into the archive: owners and times are zero and the order is the caller's.
//!
//! Format: Linux `Documentation/driver-api/early-userspace/buffer-format.rst`.

/// An archive in the making.
#[derive(Default)]
pub struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

const DIRECTORY: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;
const LINK: u32 = 0o120_000;
const CHARACTER: u32 = 0o020_000;

impl Archive {
    /// Adds a directory. Parents come first.
    pub fn directory(&mut self, path: &str) {
        self.entry(path, DIRECTORY | 0o755, (0, 0), &[]);
    }

    /// Adds a file with these permissions.
    pub fn file(&mut self, path: &str, permissions: u32, content: &[u8]) {
        self.entry(path, REGULAR | permissions, (0, 0), content);
    }

    /// Adds a symbolic link to `target`.
    pub fn link(&mut self, path: &str, target: &str) {
        self.entry(path, LINK | 0o777, (0, 0), target.as_bytes());
    }

    /// Adds a character device, for root only.
    pub fn character_device(&mut self, path: &str, major: u32, minor: u32) {
        self.entry(path, CHARACTER | 0o600, (major, minor), &[]);
    }

    /// Ends the archive.
    pub fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, (0, 0), &[]);
        // Padded as the kernel's own archives are; loaders may expect whole blocks.
        let blocks = self.bytes.len().next_multiple_of(512);
        self.bytes.resize(blocks, 0);
        self.bytes
    }

    fn entry(&mut self, path: &str, mode: u32, device: (u32, u32), content: &[u8]) {
        self.entries += 1;
        let links = if mode & DIRECTORY != 0 { 2 } else { 1 };
        let fields = [
            self.entries, // inode
            mode,
            0, // owner
            0, // group
            links,
            0, // time
            content.len() as u32,
            0, // device that holds the file
            0,
            device.0,
            device.1,
            path.len() as u32 + 1,
            0, // checksum, of another format
        ];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes
                .extend_from_slice(format!("{field:08X}").as_bytes());
        }
        self.bytes.extend_from_slice(path.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    fn pad(&mut self) {
        let aligned = self.bytes.len().next_multiple_of(4);
        self.bytes.resize(aligned, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The format's text: magic, 13 fields of 8 hexadecimal digits, name with NUL, padding to 4, content, padding.
    #[test]
    fn an_entry_is_laid_out_as_the_format_says() {
        let mut archive = Archive::default();
        archive.file("init", 0o755, b"hello");
        let bytes = archive.finish();
        let mut expected = Vec::new();
        expected.extend_from_slice(b"070701");
        expected.extend_from_slice(b"00000001"); // inode
        expected.extend_from_slice(b"000081ED"); // mode 0100755
        expected.extend_from_slice(b"0000000000000000"); // owner, group
        expected.extend_from_slice(b"00000001"); // links
        expected.extend_from_slice(b"00000000"); // time
        expected.extend_from_slice(b"00000005"); // size
        expected.extend_from_slice(b"00000000000000000000000000000000"); // devices
        expected.extend_from_slice(b"00000005"); // name with NUL
        expected.extend_from_slice(b"00000000"); // checksum
        expected.extend_from_slice(b"init\0\0"); // 110 + 5 bytes, padded to 116
        expected.extend_from_slice(b"hello\0\0\0");
        assert_eq!(&bytes[..expected.len()], expected);
        assert_eq!(&bytes[expected.len()..][..6], b"070701");
        assert_eq!(bytes.len(), 512);
    }

    #[test]
    fn the_same_content_gives_the_same_bytes() {
        let make = || {
            let mut archive = Archive::default();
            archive.directory("dev");
            archive.character_device("dev/console", 5, 1);
            archive.finish()
        };
        assert_eq!(make(), make());
    }
}
