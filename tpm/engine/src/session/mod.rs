//! Sessions (Part 1 §16.5, §27.5): the slots of loaded ones, the numbers of saved ones.

mod saved;

use crate::buf::{Buf, Secret};
use crate::codec::{Reader, Writer};
use crate::limits::{MAX_ACTIVE_SESSIONS, MAX_AUTH, MAX_DIGEST, MAX_LOADED_SESSIONS};
use crate::rc::{Rc, Result};
use crate::types::{Digest, HashAlg, Name, SymDef, hr};

/// TPM_PT_CONTEXT_GAP_MAX: how far the numbers of saved sessions may be apart.
pub const CONTEXT_GAP_MAX: u64 = 0xFFFF;

/// TPM_SE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionKind {
    /// Authorizes with authorization values, audits, encrypts.
    Hmac,
    /// Authorizes with a policy.
    Policy,
    /// Computes a policy and authorizes nothing.
    Trial,
}

/// The entity to which an HMAC session is bound (Part 1 §16.6.10), as it was when the session began: the binding ends when its
/// Name or authorization value changes.
#[derive(Clone)]
pub struct Bound {
    /// Its Name.
    pub name: Name,
    /// Its authorization value.
    pub auth: Secret<MAX_AUTH>,
}

/// What else than the policy digest a policy binds the command to; a session has one of them at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Restriction {
    /// Nothing.
    #[default]
    None,
    /// cpHash (TPM2_PolicyCpHash, PolicySigned, PolicySecret, PolicyTicket).
    CpHash,
    /// Names of the handles (TPM2_PolicyNameHash, PolicyDuplicationSelect).
    NameHash,
    /// The public template (TPM2_PolicyTemplate).
    Template,
}

/// What the assertions of a policy have left in its session (Part 1 §16.7.8).
#[derive(Clone, Default)]
pub struct PolicyState {
    /// policyDigest.
    pub digest: Digest,
    /// commandCode, or zero.
    pub command_code: u32,
    /// Which of the hashes `bound_to` is.
    pub restriction: Restriction,
    /// cpHash, nameHash or the template's hash.
    pub bound_to: Digest,
    /// commandLocality, or zero.
    pub locality: u8,
    /// Time when nonceTPM was made.
    pub start: u64,
    /// timeEpoch at that time.
    pub epoch: u32,
    /// Time at which the policy expires, or zero.
    pub timeout: u64,
    /// pcrUpdateCounter when a PCR was looked at.
    pub pcr_counter: Option<u32>,
    /// TPM2_PolicyAuthValue came last.
    pub auth_value_needed: bool,
    /// TPM2_PolicyPassword came last.
    pub password_needed: bool,
    /// TPM2_PolicyPhysicalPresence.
    pub presence_required: bool,
    /// TPM2_PolicyNvWritten.
    pub nv_written: Option<bool>,
}

impl PolicyState {
    /// A policy without assertions (also that of TPM2_PolicyRestart).
    pub fn new(hash: HashAlg, start: u64, epoch: u32) -> PolicyState {
        PolicyState {
            digest: Digest::zeroed(hash.size()),
            start,
            epoch,
            ..PolicyState::default()
        }
    }
}

/// A loaded session.
#[derive(Clone)]
pub struct Session {
    /// What it is for.
    pub kind: SessionKind,
    /// authHash.
    pub hash: HashAlg,
    /// What it encrypts parameters with.
    pub symmetric: SymDef,
    /// sessionKey.
    pub key: Secret<MAX_DIGEST>,
    /// nonceTPM.
    pub nonce_tpm: Buf<MAX_DIGEST>,
    /// What it is bound to.
    pub bound: Option<Bound>,
    /// Whether a failure of its HMAC counts as a dictionary attack on what it is bound to.
    pub da_bound: bool,
    /// Whether it is bound to lockoutAuth.
    pub lockout_bound: bool,
    /// The audit digest, once it has audited a command.
    pub audit: Option<Digest>,
    /// Policy and trial sessions.
    pub policy: PolicyState,
}

impl Session {
    const fn handle_type(&self) -> u32 {
        match self.kind {
            SessionKind::Hmac => hr::HMAC_SESSION,
            SessionKind::Policy | SessionKind::Trial => hr::POLICY_SESSION,
        }
    }
}

/// Where a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
enum Place {
    /// There is none.
    #[default]
    Free,
    /// In a slot.
    Loaded(u8),
    /// In a context with this number.
    Saved(u64),
}

/// All sessions. Handle 0x0200_0000 + n or 0x0300_0000 + n is place n.
pub struct Sessions {
    slots: [Option<Session>; MAX_LOADED_SESSIONS],
    places: [Place; MAX_ACTIVE_SESSIONS],
    /// Bit n: place n is not free.
    active: u64,
    /// The number of the next saved context.
    counter: u64,
    /// The session whose audit is exclusive, or zero.
    pub exclusive: u32,
}

impl Sessions {
    /// None.
    pub const fn new() -> Sessions {
        Sessions {
            slots: [const { None }; MAX_LOADED_SESSIONS],
            places: [Place::Free; MAX_ACTIVE_SESSIONS],
            active: 0,
            counter: 1,
            exclusive: 0,
        }
    }

    /// TPM Reset: all sessions end, saved ones too.
    pub fn reset(&mut self) {
        *self = Sessions::new();
    }

    fn slot(&self, handle: u32) -> Option<usize> {
        match self.places.get(hr::index(handle) as usize)? {
            Place::Loaded(slot) => Some(usize::from(*slot)),
            _ => None,
        }
    }

    /// The loaded session `handle`.
    pub fn get(&self, handle: u32) -> Option<&Session> {
        self.slots
            .get(self.slot(handle)?)?
            .as_ref()
            .filter(|session| session.handle_type() == hr::of(handle))
    }

    /// The loaded session `handle`, to change.
    pub fn get_mut(&mut self, handle: u32) -> Option<&mut Session> {
        let slot = self.slot(handle)?;
        self.slots
            .get_mut(slot)?
            .as_mut()
            .filter(|session| session.handle_type() == hr::of(handle))
    }

    /// Whether a session, of whatever kind, is loaded under the number of `handle`.
    pub fn is_loaded(&self, handle: u32) -> bool {
        self.slot(handle).is_some()
    }

    /// Whether `handle` is that of a session in a saved context. Its kind is known to the context only.
    pub fn is_saved(&self, handle: u32) -> bool {
        matches!(
            self.places.get(hr::index(handle) as usize),
            Some(Place::Saved(_))
        ) && matches!(hr::of(handle), hr::HMAC_SESSION | hr::POLICY_SESSION)
    }

    fn free_slot(&self) -> Result<usize> {
        self.slots
            .iter()
            .position(Option::is_none)
            .ok_or(Rc::SESSION_MEMORY)
    }

    /// The number of the saved context that is oldest.
    fn oldest(&self) -> Option<u64> {
        self.places
            .iter()
            .filter_map(|place| match place {
                Place::Saved(id) => Some(*id),
                _ => None,
            })
            .min()
    }

    fn at_gap(&self) -> bool {
        // Without CONTEXT_GAP_MAX numbers given there cannot be a gap, and nothing to look for.
        self.counter > CONTEXT_GAP_MAX
            && self
                .oldest()
                .is_some_and(|oldest| self.counter.saturating_sub(oldest) >= CONTEXT_GAP_MAX)
    }

    /// Whether one more session can begin.
    ///
    /// # Errors
    /// SESSION_MEMORY, CONTEXT_GAP, SESSION_HANDLES.
    pub fn check_room(&self) -> Result<()> {
        self.free_slot()?;
        if self.at_gap() {
            return Err(Rc::CONTEXT_GAP);
        }
        if self.active == u64::MAX {
            return Err(Rc::SESSION_HANDLES);
        }
        Ok(())
    }

    /// Adds a session and returns its handle.
    ///
    /// # Errors
    /// As [`Sessions::check_room`].
    pub fn insert(&mut self, session: Session) -> Result<u32> {
        self.check_room()?;
        let index = self.active.trailing_ones();
        let handle = session.handle_type() | index;
        self.place(index as usize, session)?;
        Ok(handle)
    }

    fn place(&mut self, index: usize, session: Session) -> Result<()> {
        let slot = self.free_slot()?;
        if let (Some(place), Some(empty), Ok(number)) = (
            self.places.get_mut(index),
            self.slots.get_mut(slot),
            u8::try_from(slot),
        ) {
            *place = Place::Loaded(number);
            *empty = Some(session);
            self.active |= 1u64.wrapping_shl(index as u32);
        }
        Ok(())
    }

    /// Ends the session, loaded or saved. Whether there was one.
    pub fn flush(&mut self, handle: u32) -> bool {
        let saved = self.is_saved(handle);
        if !saved && self.get(handle).is_none() {
            return false;
        }
        if let Some(slot) = self.slot(handle).and_then(|slot| self.slots.get_mut(slot)) {
            *slot = None;
        }
        if let Some(place) = self.places.get_mut(hr::index(handle) as usize) {
            *place = Place::Free;
        }
        self.active &= !1u64.wrapping_shl(hr::index(handle));
        // A saved session can be named by a handle of the other kind.
        if hr::index(self.exclusive) == hr::index(handle) {
            self.exclusive = 0;
        }
        true
    }

    /// Writes the loaded session `handle` and frees its slot. Returns the number of the context (TPMS_CONTEXT.sequence).
    ///
    /// # Errors
    /// HANDLE, CONTEXT_GAP; what does not fit into `w` is the caller's to notice.
    pub fn save(&mut self, handle: u32, w: &mut Writer<'_>) -> Result<u64> {
        let session = self.get(handle).ok_or(Rc::HANDLE)?;
        if self.at_gap() {
            return Err(Rc::CONTEXT_GAP);
        }
        session.write(w);
        let id = self.counter;
        self.counter = id.wrapping_add(1);
        if let Some(slot) = self.slot(handle).and_then(|slot| self.slots.get_mut(slot)) {
            *slot = None;
        }
        if let Some(place) = self.places.get_mut(hr::index(handle) as usize) {
            *place = Place::Saved(id);
        }
        Ok(id)
    }

    /// Whether context number `sequence` of `handle` is the last that was saved, and was not loaded since: it may be loaded.
    pub fn is_current(&self, handle: u32, sequence: u64) -> bool {
        self.places.get(hr::index(handle) as usize) == Some(&Place::Saved(sequence))
    }

    /// Loads what [`Sessions::save`] wrote, after its integrity was checked.
    ///
    /// # Errors
    /// HANDLE: the context is not the last one; SESSION_MEMORY, CONTEXT_GAP.
    pub fn load(&mut self, handle: u32, sequence: u64, r: &mut Reader<'_>) -> Result<()> {
        if !self.is_current(handle, sequence) {
            return Err(Rc::HANDLE);
        }
        self.free_slot()?;
        // At the gap the last slot is for the oldest session, whose number must become newer.
        if self.slots.iter().filter(|slot| slot.is_none()).count() == 1
            && self.at_gap()
            && self.oldest() != Some(sequence)
        {
            return Err(Rc::CONTEXT_GAP);
        }
        let session = Session::read(r)?;
        if session.handle_type() != hr::of(handle) {
            return Err(Rc::HANDLE);
        }
        self.place(hr::index(handle) as usize, session)
    }

    /// The handles of loaded sessions, in rising order of their places.
    pub fn loaded_handles(&self) -> impl Iterator<Item = u32> + Clone + '_ {
        (0u32..)
            .zip(&self.places)
            .filter_map(|(index, place)| match place {
                Place::Loaded(slot) => {
                    let session = self.slots.get(usize::from(*slot))?.as_ref()?;
                    Some(session.handle_type() | index)
                }
                _ => None,
            })
    }

    /// The handles of saved sessions: of their kind is known that it is a session.
    pub fn saved_handles(&self) -> impl Iterator<Item = u32> + Clone + '_ {
        (hr::HMAC_SESSION..)
            .zip(&self.places)
            .filter(|(_, place)| matches!(place, Place::Saved(_)))
            .map(|(handle, _)| handle)
    }

    /// TPM Restart and Resume: loaded sessions end, saved ones stay.
    pub fn flush_loaded(&mut self) {
        for slot in &mut self.slots {
            *slot = None;
        }
        for (index, place) in (0u32..).zip(&mut self.places) {
            if matches!(place, Place::Loaded(_)) {
                *place = Place::Free;
                self.active &= !1u64.wrapping_shl(index);
            }
        }
        self.exclusive = 0;
    }

    /// Writes what outlasts TPM2_Shutdown(STATE): which contexts can still be loaded.
    pub fn put(&self, w: &mut Writer<'_>) {
        w.u64(self.counter);
        for place in &self.places {
            w.u64(match place {
                Place::Saved(id) => *id,
                _ => 0,
            });
        }
    }

    /// Reads what [`Sessions::put`] wrote.
    ///
    /// # Errors
    /// INSUFFICIENT.
    pub fn take(&mut self, r: &mut Reader<'_>) -> Result<()> {
        self.reset();
        self.counter = r.u64()?;
        for (index, place) in (0u32..).zip(&mut self.places) {
            let id = r.u64()?;
            if id != 0 {
                *place = Place::Saved(id);
                self.active |= 1u64.wrapping_shl(index);
            }
        }
        Ok(())
    }
}
