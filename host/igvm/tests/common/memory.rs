//! A machine that keeps what is loaded into it.

use std::collections::BTreeMap;
use std::convert::Infallible;

use igvm_loader::{
    HostParameters, Image, Machine, MemoryMapEntry, MemoryMapEntryType, Page, PageKind, Platform,
};
use snp_abi::vmsa::Vmsa;
use zerocopy::FromBytes;

/// What a machine has in memory after loading.
#[derive(Default)]
pub struct Memory {
    pub pages: BTreeMap<u64, (PageKind, Box<Page>)>,
    pub vmsa: Option<(u16, u64, Box<Page>)>,
    pub policy: Option<u64>,
    pub required: Vec<(u64, u64)>,
}

impl Machine for Memory {
    type Error = Infallible;

    fn guest_policy(&mut self, policy: u64) -> Result<(), Infallible> {
        self.policy = Some(policy);
        Ok(())
    }

    fn required_memory(&mut self, gpa: u64, bytes: u64) -> Result<(), Infallible> {
        self.required.push((gpa, bytes));
        Ok(())
    }

    fn page(&mut self, gpa: u64, kind: PageKind, contents: &Page) -> Result<(), Infallible> {
        assert!(
            self.pages
                .insert(gpa, (kind, Box::new(*contents)))
                .is_none()
        );
        Ok(())
    }

    fn vp_context(&mut self, vp_index: u16, gpa: u64, contents: &Page) -> Result<(), Infallible> {
        self.vmsa = Some((vp_index, gpa, Box::new(*contents)));
        Ok(())
    }
}

pub fn load(bytes: &[u8]) -> Memory {
    let memory_map = [MemoryMapEntry {
        starting_gpa_page_number: 0,
        number_of_pages: 0x2_0000,
        entry_type: MemoryMapEntryType::MEMORY,
        flags: 0,
        reserved: 0,
    }];
    let host = HostParameters {
        vp_count: 3,
        memory_map: &memory_map,
        madt: b"the MADT",
        memory_is_shared: true,
        gpa_limit: 1 << 47,
    };
    let mut memory = Memory::default();
    Image::parse(bytes)
        .unwrap()
        .select(Platform::SevSnp)
        .unwrap()
        .load(&host, &mut memory)
        .unwrap();
    memory
}

impl Memory {
    pub fn kind(&self, gpa: u64) -> Option<PageKind> {
        self.pages.get(&gpa).map(|(kind, _)| *kind)
    }

    pub fn read<T: FromBytes>(&self, gpa: u64) -> T {
        T::read_from_prefix(&self.pages[&gpa].1[..]).unwrap().0
    }

    pub fn vmsa(&self) -> Vmsa {
        Vmsa::read_from_bytes(&self.vmsa.as_ref().unwrap().2[..]).unwrap()
    }
}
