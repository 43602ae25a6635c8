//! Tickets, digest lists, the public area of an NV index.

use super::{Digest, HashAlg, NvAttributes, hr, rh, st};
use crate::buf::Buf;
use crate::codec::{Marshal, Reader, Unmarshal, Writer};
use crate::limits::{MAX_DIGEST_LIST, MAX_NV_INDEX_SIZE};
use crate::rc::{Rc, Result};

/// TPMT_TK_*: proof that this TPM saw something. `tag` tells the kinds apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// TPM_ST_CREATION, VERIFIED, AUTH_SECRET, AUTH_SIGNED or HASHCHECK.
    pub tag: u16,
    /// The hierarchy whose proof value made it.
    pub hierarchy: u32,
    /// HMAC with that proof; empty for a ticket that proves nothing.
    pub digest: Digest,
}

impl Ticket {
    /// The ticket that proves nothing (Part 2 §10.7.2).
    pub const fn null(tag: u16) -> Ticket {
        Ticket {
            tag,
            hierarchy: rh::NULL,
            digest: Digest::new(),
        }
    }

    /// Reads a ticket of one of the kinds in `tags`.
    ///
    /// # Errors
    /// TAG; VALUE for a hierarchy that is none.
    pub fn read(r: &mut Reader<'_>, tags: &[u16]) -> Result<Self> {
        let tag = r.u16()?;
        if !tags.contains(&tag) {
            return Err(Rc::TAG);
        }
        let hierarchy = r.u32()?;
        if !matches!(
            hierarchy,
            rh::OWNER | rh::ENDORSEMENT | rh::PLATFORM | rh::NULL
        ) {
            return Err(Rc::VALUE);
        }
        Ok(Ticket {
            tag,
            hierarchy,
            digest: r.get()?,
        })
    }

    /// TPMT_TK_AUTH: of PolicySecret or PolicySigned.
    ///
    /// # Errors
    /// As [`Ticket::read`].
    pub fn auth(r: &mut Reader<'_>) -> Result<Self> {
        Ticket::read(r, &[st::AUTH_SECRET, st::AUTH_SIGNED])
    }
}

impl Marshal for Ticket {
    fn marshal(&self, w: &mut Writer<'_>) {
        w.u16(self.tag);
        w.u32(self.hierarchy);
        w.put(&self.digest);
    }
}

/// TPML_DIGEST.
#[derive(Clone, Debug, Default)]
pub struct DigestList {
    items: [Digest; MAX_DIGEST_LIST],
    len: usize,
}

impl DigestList {
    /// The digests.
    pub fn as_slice(&self) -> &[Digest] {
        self.items.get(..self.len).unwrap_or(&[])
    }

    /// Appends.
    ///
    /// # Errors
    /// SIZE: there are as many as fit.
    pub fn push(&mut self, digest: Digest) -> Result<()> {
        *self.items.get_mut(self.len).ok_or(Rc::SIZE)? = digest;
        self.len = self.len.saturating_add(1);
        Ok(())
    }
}

/// TPML_DIGEST of TPM2_PolicyOR: at least two.
impl Unmarshal for DigestList {
    fn unmarshal(r: &mut Reader<'_>) -> Result<Self> {
        let count = r.u32()?;
        if !usize::try_from(count).is_ok_and(|count| (2..=MAX_DIGEST_LIST).contains(&count)) {
            return Err(Rc::SIZE);
        }
        let mut list = DigestList::default();
        for _ in 0..count {
            list.push(r.get()?)?;
        }
        Ok(list)
    }
}

impl Marshal for DigestList {
    fn marshal(&self, w: &mut Writer<'_>) {
        w.u32(u32::try_from(self.len).unwrap_or(0));
        for digest in self.as_slice() {
            w.put(digest);
        }
    }
}

/// TPMT_HA: an algorithm and a digest of its size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HashValue {
    /// The algorithm.
    pub hash: HashAlg,
    /// As long as the algorithm says.
    pub digest: Digest,
}

impl Unmarshal for HashValue {
    fn unmarshal(r: &mut Reader<'_>) -> Result<Self> {
        let hash: HashAlg = r.get()?;
        Ok(HashValue {
            hash,
            digest: Buf::from_prefix(r.bytes(hash.size())?),
        })
    }
}

impl Marshal for HashValue {
    fn marshal(&self, w: &mut Writer<'_>) {
        w.put(&self.hash);
        w.bytes(&self.digest);
    }
}

/// TPMS_NV_PUBLIC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NvPublic {
    /// The handle.
    pub index: u32,
    /// Of the Name.
    pub name_alg: HashAlg,
    /// What may be done with it, and what has been.
    pub attributes: NvAttributes,
    /// Empty, or a digest of `name_alg`'s size.
    pub auth_policy: Digest,
    /// Bytes of data.
    pub data_size: u16,
}

/// TPM2B_NV_PUBLIC.
impl Unmarshal for NvPublic {
    fn unmarshal(r: &mut Reader<'_>) -> Result<Self> {
        r.sized(|r| {
            let index = r.u32()?;
            if hr::of(index) != hr::NV_INDEX {
                return Err(Rc::VALUE);
            }
            let name_alg = r.get()?;
            let attributes = r.get()?;
            let auth_policy = r.get()?;
            let data_size = r.u16()?;
            if usize::from(data_size) > MAX_NV_INDEX_SIZE {
                return Err(Rc::SIZE);
            }
            Ok(NvPublic {
                index,
                name_alg,
                attributes,
                auth_policy,
                data_size,
            })
        })?
        .ok_or(Rc::SIZE)
    }
}

/// TPMS_NV_PUBLIC: without a size in front.
impl Marshal for NvPublic {
    fn marshal(&self, w: &mut Writer<'_>) {
        w.u32(self.index);
        w.put(&self.name_alg);
        w.put(&self.attributes);
        w.put(&self.auth_policy);
        w.u16(self.data_size);
    }
}
