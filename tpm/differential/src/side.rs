//! One of the two TPMs: it turns a symbolic step into bytes with the values that this TPM gave earlier, and checks
//! what only the caller of this TPM can check (the HMACs of its responses).

use std::collections::BTreeMap;

use anyhow::Result;

use crate::backend::Backend;
use crate::commands::{self, command};
use crate::crypto::{Cipher, ecc_salt, hash, hmac, kdfa};
use crate::shape::{self, Field};
use crate::step::{
    Action, Auth, Edit, Handle, HandleValue, Name, Part, Piece, Salt, Slot, Start, Step,
};

const NO_SESSIONS: u16 = 0x8001;
const SESSIONS: u16 = 0x8002;
const NV_READ_PUBLIC: u32 = 0x169;
const GET_CAPABILITY: u32 = 0x17A;
const FLUSH_CONTEXT: u32 = 0x165;
const SEQUENCE_COMPLETE: u32 = 0x13E;
const EVENT_SEQUENCE_COMPLETE: u32 = 0x185;
const RETRY: [u8; 4] = [0, 0, 9, 0x22];
const DECRYPT: u8 = 0x20;
const ENCRYPT: u8 = 0x40;
const CONTINUE: u8 = 0x01;

struct Session {
    hash: u16,
    cipher: Cipher,
    key: Vec<u8>,
    nonce_tpm: Vec<u8>,
}

/// A command, what it was answered, and what is wrong with the answer in itself.
#[derive(Clone, Debug, Default)]
pub struct Exchange {
    /// The locality.
    pub locality: u8,
    /// The command.
    pub command: Vec<u8>,
    /// The response.
    pub response: Vec<u8>,
    /// The response with its first parameter decrypted.
    pub plain: Vec<u8>,
    /// The response parameters.
    pub fields: Vec<Field>,
    /// Malformed, or an HMAC is not right.
    pub fault: Option<String>,
}

impl Exchange {
    /// The response code.
    pub fn rc(&self) -> u32 {
        self.response.get(6..10).map_or(0xFFFF_FFFF, |rc| {
            u32::from_be_bytes([rc[0], rc[1], rc[2], rc[3]])
        })
    }
}

/// A TPM and what it gave.
pub struct Side {
    backend: Box<dyn Backend>,
    values: BTreeMap<Slot, Vec<u8>>,
    sessions: BTreeMap<Slot, Session>,
}

impl Side {
    /// A TPM that gave nothing yet.
    pub fn new(backend: Box<dyn Backend>) -> Side {
        Side {
            backend,
            values: BTreeMap::new(),
            sessions: BTreeMap::new(),
        }
    }

    /// Does `action` and tells what was exchanged: one command mostly, more where it stands for several.
    ///
    /// # Errors
    /// The TPM cannot be reached, or does not answer in time.
    pub fn act(&mut self, action: &Action) -> Result<Vec<Exchange>> {
        match action {
            Action::Command(step) => self.step(step),
            Action::PowerCycle => {
                self.backend.power_cycle()?;
                Ok(Vec::new())
            }
            Action::HashSequence(data) => {
                self.backend.hash_sequence(data)?;
                Ok(Vec::new())
            }
            Action::FlushAll => self.flush_all(),
        }
    }

    /// Any bytes.
    ///
    /// # Errors
    /// As [`Side::act`].
    pub fn raw(&mut self, locality: u8, command: &[u8]) -> Result<Vec<u8>> {
        self.backend.execute(locality, command)
    }

    fn flush_all(&mut self) -> Result<Vec<Exchange>> {
        let mut exchanges = Vec::new();
        // Transient objects, loaded sessions, saved sessions.
        for first in [0x8000_0000_u32, 0x0200_0000, 0x0300_0000] {
            let parameters = [1, first, 64].map(u32::to_be_bytes).concat();
            let listed = self.plain(0, header(NO_SESSIONS, GET_CAPABILITY, &parameters))?;
            let handles: Vec<u32> = listed
                .response
                .get(19..)
                .unwrap_or(&[])
                .chunks_exact(4)
                .map(|at| u32::from_be_bytes([at[0], at[1], at[2], at[3]]))
                .collect();
            exchanges.push(listed);
            for handle in handles {
                exchanges.push(
                    self.plain(0, header(NO_SESSIONS, FLUSH_CONTEXT, &handle.to_be_bytes()))?,
                );
            }
        }
        self.sessions.clear();
        self.values
            .retain(|_, value| !matches!(value[..], [0x80 | 2 | 3, _, _, _]));
        Ok(exchanges)
    }

    fn plain(&mut self, locality: u8, command: Vec<u8>) -> Result<Exchange> {
        let response = self.backend.execute(locality, &command)?;
        let mut exchange = Exchange {
            locality,
            command,
            plain: response.clone(),
            response,
            ..Exchange::default()
        };
        shape::parse(&mut exchange);
        Ok(exchange)
    }

    fn step(&mut self, step: &Step) -> Result<Vec<Exchange>> {
        let mut exchanges = Vec::new();
        let mut names = Vec::new();
        let mut handles = Vec::new();
        let needs_names = step.auths.iter().any(|auth| auth.session.is_some());
        for handle in &step.handles {
            let value = self.handle(handle);
            handles.extend(value);
            names.push(match &handle.name {
                Name::Handle => value.to_vec(),
                Name::Slot(slot) => self.value(*slot),
                Name::Nv if !needs_names => Vec::new(),
                Name::Nv => {
                    let exchange = self.plain(0, header(NO_SESSIONS, NV_READ_PUBLIC, &value))?;
                    let name = exchange.fields.get(1).map_or(Vec::new(), |field| {
                        exchange.plain.get(field.body()).unwrap_or(&[]).to_vec()
                    });
                    exchanges.push(exchange);
                    name
                }
            });
        }
        let mut params = Vec::new();
        for piece in &step.params {
            self.render(piece, &mut params);
        }
        let code = step.code.to_be_bytes();
        let mut parts: Vec<&[u8]> = vec![&code];
        parts.extend(names.iter().map(Vec::as_slice));
        let plain_params = params.clone();
        let auth_values: Vec<Vec<u8>> =
            step.auths.iter().map(|auth| trimmed(&auth.value)).collect();

        // Encryption comes before cpHash.
        if let Some((at, session)) = self.crypting(step, DECRYPT) {
            let len = usize::from(u16::from_be_bytes([
                params.first().copied().unwrap_or(0),
                params.get(1).copied().unwrap_or(0),
            ]));
            if let Some(data) = params.get_mut(2..len + 2) {
                let value = [session.key.as_slice(), &auth_values[at]].concat();
                let nonce = &step.auths[at].nonce;
                session
                    .cipher
                    .apply(true, session.hash, &value, nonce, &session.nonce_tpm, data);
            }
        }
        parts.push(&params);

        let mut area = Vec::new();
        for (at, auth) in step.auths.iter().enumerate() {
            let handle = auth
                .session
                .as_ref()
                .map_or([0x40, 0, 0, 9], |session| self.handle(session));
            area.extend(handle);
            push_sized(&mut area, &auth.nonce);
            area.push(auth.attributes);
            let mut field = match self.sessions.get(&auth.slot) {
                _ if auth.plain => auth.value.clone(),
                _ if auth.no_hmac => Vec::new(),
                None => Vec::new(),
                Some(session) => {
                    let cp_hash = hash(session.hash, &parts);
                    let mut message = vec![
                        cp_hash.as_slice(),
                        auth.nonce.as_slice(),
                        session.nonce_tpm.as_slice(),
                    ];
                    if at == 0 {
                        message.extend(self.other_nonces(step));
                    }
                    message.push(std::slice::from_ref(&auth.attributes));
                    hmac(session.hash, &session.hmac_key(auth), &message)
                }
            };
            if auth.wrong {
                match field.first_mut() {
                    Some(byte) => *byte ^= 1,
                    None => field.push(1),
                }
            }
            push_sized(&mut area, &field);
        }

        let mut body = handles;
        if !step.auths.is_empty() {
            body.extend((area.len() as u32).to_be_bytes());
            body.extend(&area);
        }
        body.extend(&params);
        let tag = if step.auths.is_empty() {
            NO_SESSIONS
        } else {
            SESSIONS
        };
        let mut command = header(tag, step.code, &body);
        for edit in &step.edits {
            apply(edit, &mut command, step.handles.len());
        }

        let mut response = self.backend.execute(step.locality, &command)?;
        if response.get(6..10) == Some(&RETRY) {
            // A TPM may want a command again (swtpm does at the first use of an entity with dictionary attack
            // protection); every driver does that.
            response = self.backend.execute(step.locality, &command)?;
        }
        let mut exchange = Exchange {
            locality: step.locality,
            command,
            plain: response.clone(),
            response,
            ..Exchange::default()
        };
        if exchange.rc() == 0 {
            self.after(step, &auth_values, &plain_params, &mut exchange);
        } else {
            shape::parse(&mut exchange);
        }
        exchanges.push(exchange);
        Ok(exchanges)
    }

    /// Decrypts the response, checks its HMACs, and saves what the step wants.
    fn after(
        &mut self,
        step: &Step,
        auth_values: &[Vec<u8>],
        _params: &[u8],
        exchange: &mut Exchange,
    ) {
        let mut fault = None;
        let handle_len = if command(step.code).is_some_and(|command| command.returns_handle) {
            4
        } else {
            0
        };
        if !step.auths.is_empty() && step.edits.is_empty() {
            match shape::split(&exchange.response, handle_len) {
                None => fault = Some("the response's authorization area is malformed".into()),
                Some((params, entries)) if entries.len() == step.auths.len() => {
                    let parameters = exchange.response[params.clone()].to_vec();
                    for (at, (auth, entry)) in step.auths.iter().zip(&entries).enumerate() {
                        let Some(session) = self.sessions.get_mut(&auth.slot) else {
                            continue;
                        };
                        let code = step.code.to_be_bytes();
                        let rp_hash = hash(session.hash, &[&[0; 4], &code, &parameters]);
                        let expected = if auth.plain || auth.no_hmac {
                            Vec::new()
                        } else {
                            let key = session.hmac_key(auth);
                            let attributes = [entry.attributes];
                            hmac(
                                session.hash,
                                &key,
                                &[&rp_hash, &entry.nonce, &auth.nonce, &attributes],
                            )
                        };
                        if commands::keeps_auth(step.code) && entry.hmac != expected {
                            fault = Some(format!("the HMAC of session {} is not right", at + 1));
                        }
                        session.nonce_tpm.clone_from(&entry.nonce);
                    }
                    if let Some((at, session)) = self.crypting(step, ENCRYPT) {
                        let value = [session.key.as_slice(), &auth_values[at]].concat();
                        let start = params.start;
                        let len = exchange
                            .plain
                            .get(start..start + 2)
                            .map_or(0, |len| usize::from(u16::from_be_bytes([len[0], len[1]])));
                        if let Some(data) = exchange.plain.get_mut(start + 2..start + 2 + len) {
                            let nonce = &step.auths[at].nonce;
                            session.cipher.apply(
                                false,
                                session.hash,
                                &value,
                                &session.nonce_tpm,
                                nonce,
                                data,
                            );
                        }
                    }
                }
                Some((_, entries)) => {
                    fault = Some(format!(
                        "{} entries in the authorization area",
                        entries.len()
                    ));
                }
            }
        }
        shape::parse(exchange);
        exchange.fault = exchange.fault.take().or(fault);
        for auth in &step.auths {
            if auth.session.is_some() && auth.attributes & CONTINUE == 0 {
                self.sessions.remove(&auth.slot);
            }
        }
        self.forget_flushed(step);
        for (part, slot) in &step.saves {
            let range = match part {
                Part::Handle => Some(10..14),
                Part::Field(at) => exchange.fields.get(*at).map(|field| field.range.clone()),
                Part::Body(at) => exchange.fields.get(*at).map(Field::body),
            };
            if let Some(bytes) = range.and_then(|range| exchange.plain.get(range)) {
                self.values.insert(*slot, bytes.to_vec());
            }
        }
        if let Some(start) = &step.start {
            self.begin(start, exchange);
        }
    }

    /// A handle that is no more is not used again: two TPMs may give its number to different objects.
    fn forget_flushed(&mut self, step: &Step) {
        match (step.code, &step.params[..], step.handles.last()) {
            (FLUSH_CONTEXT, [Piece::Slot(slot)], _) => {
                self.values.remove(slot);
            }
            (SEQUENCE_COMPLETE | EVENT_SEQUENCE_COMPLETE, _, Some(handle)) => {
                if let HandleValue::Slot(slot) = handle.value {
                    self.values.remove(&slot);
                }
            }
            _ => {}
        }
    }

    fn begin(&mut self, start: &Start, exchange: &Exchange) {
        let Some(nonce_tpm) = exchange
            .fields
            .first()
            .and_then(|field| exchange.plain.get(field.body()))
        else {
            return;
        };
        let salt = match &start.salt {
            None => Vec::new(),
            Some(Salt::Plain(salt)) => salt.clone(),
            Some(Salt::Ecc(Piece::Salt {
                public,
                name_alg,
                scalar,
            })) => self
                .ecc_salt(*public, *name_alg, scalar)
                .map_or(Vec::new(), |(_, salt)| salt),
            Some(Salt::Ecc(_)) => Vec::new(),
        };
        let key = if start.bind.is_none() && start.salt.is_none() {
            Vec::new()
        } else {
            let secret = [trimmed(start.bind.as_deref().unwrap_or(&[])), salt].concat();
            let bits = crate::crypto::digest_len(start.hash) * 8;
            kdfa(start.hash, &secret, "ATH", nonce_tpm, &start.nonce, bits)
        };
        self.sessions.insert(
            start.slot,
            Session {
                hash: start.hash,
                cipher: start.cipher,
                key,
                nonce_tpm: nonce_tpm.to_vec(),
            },
        );
    }

    fn crypting(&self, step: &Step, attribute: u8) -> Option<(usize, &Session)> {
        let at = step
            .auths
            .iter()
            .position(|auth| auth.session.is_some() && auth.attributes & attribute != 0)?;
        Some((at, self.sessions.get(&step.auths[at].slot)?))
    }

    /// The first session's HMAC covers the nonces of the sessions that decrypt and encrypt (Part 1 §17.6.5).
    fn other_nonces(&self, step: &Step) -> Vec<&[u8]> {
        let decrypt = self.crypting(step, DECRYPT).filter(|(at, _)| *at != 0);
        let encrypt = self.crypting(step, ENCRYPT).filter(|(at, _)| *at != 0);
        let mut nonces = Vec::new();
        if let Some((_, session)) = decrypt {
            nonces.push(session.nonce_tpm.as_slice());
        }
        if let Some((at, session)) = encrypt
            && decrypt.is_none_or(|(other, _)| other != at)
        {
            nonces.push(session.nonce_tpm.as_slice());
        }
        nonces
    }

    fn value(&self, slot: Slot) -> Vec<u8> {
        self.values.get(&slot).cloned().unwrap_or_default()
    }

    fn handle(&self, handle: &Handle) -> [u8; 4] {
        match &handle.value {
            HandleValue::Const(value) => value.to_be_bytes(),
            HandleValue::Slot(slot) => self
                .values
                .get(slot)
                .and_then(|bytes| bytes.as_slice().try_into().ok())
                .unwrap_or([0x80, 0xFF, 0xFF, 0xFF]),
        }
    }

    fn render(&self, piece: &Piece, out: &mut Vec<u8>) {
        match piece {
            Piece::Int(bytes) | Piece::Bytes(bytes) => out.extend(bytes),
            Piece::Slot(slot) => out.extend(self.value(*slot)),
            Piece::Sized(pieces, off) => {
                let bytes = self.rendered(pieces);
                out.extend((bytes.len() as u16).wrapping_add(*off as u16).to_be_bytes());
                out.extend(bytes);
            }
            Piece::Hash(alg, pieces) => out.extend(hash(*alg, &[&self.rendered(pieces)])),
            Piece::Flip(piece, bit) => {
                let mut bytes = self.rendered(std::slice::from_ref(piece));
                let bits = bytes.len() as u32 * 8;
                if bits > 0 {
                    let at = bit % bits;
                    bytes[at as usize / 8] ^= 1 << (at % 8);
                }
                out.extend(bytes);
            }
            Piece::Cut(piece, by) => {
                let bytes = self.rendered(std::slice::from_ref(piece));
                out.extend(&bytes[..bytes.len().saturating_sub(*by)]);
            }
            Piece::Salt {
                public,
                name_alg,
                scalar,
            } => {
                if let Some((point, _)) = self.ecc_salt(*public, *name_alg, scalar) {
                    out.extend(point);
                }
            }
        }
    }

    fn rendered(&self, pieces: &[Piece]) -> Vec<u8> {
        let mut bytes = Vec::new();
        pieces
            .iter()
            .for_each(|piece| self.render(piece, &mut bytes));
        bytes
    }

    /// The TPMS_ECC_POINT to send, and the salt. The public area ends with the point's two coordinates of 32 bytes.
    fn ecc_salt(
        &self,
        public: Slot,
        name_alg: u16,
        scalar: &[u8; 32],
    ) -> Option<(Vec<u8>, Vec<u8>)> {
        let public = self.value(public);
        let at = public.len().checked_sub(68)?;
        let (x, y, salt) = ecc_salt(
            name_alg,
            (&public[at + 2..at + 34], &public[at + 36..]),
            scalar,
        )?;
        let mut point = Vec::new();
        push_sized(&mut point, &x);
        push_sized(&mut point, &y);
        Some((point, salt))
    }
}

impl Session {
    fn hmac_key(&self, auth: &Auth) -> Vec<u8> {
        let mut key = self.key.clone();
        if auth.in_key {
            key.extend(trimmed(&auth.value));
        }
        key
    }
}

/// An authorization value is used without zero bytes at its end (TPM Part 1 §16.6.4.3).
fn trimmed(value: &[u8]) -> Vec<u8> {
    let len = value
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |last| last + 1);
    value[..len].to_vec()
}

fn push_sized(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend((bytes.len() as u16).to_be_bytes());
    out.extend(bytes);
}

fn header(tag: u16, code: u32, body: &[u8]) -> Vec<u8> {
    let mut command = tag.to_be_bytes().to_vec();
    command.extend((body.len() as u32 + 10).to_be_bytes());
    command.extend(code.to_be_bytes());
    command.extend(body);
    command
}

fn apply(edit: &Edit, command: &mut Vec<u8>, handles: usize) {
    match *edit {
        Edit::Tag(tag) => command[..2].copy_from_slice(&tag.to_be_bytes()),
        Edit::HeaderSize(off) => add(command, 2, off),
        Edit::AuthSize(off) => add(command, 10 + 4 * handles, off),
        Edit::Byte(at, value) => {
            let len = command.len();
            command[at as usize % len] = value;
        }
        Edit::Truncate(by) => {
            let len = command.len().saturating_sub(by).max(10);
            let off = len as i32 - command.len() as i32;
            add(command, 2, off);
            command.truncate(len);
        }
        Edit::Append(count, byte) => {
            let count = count.min(4096_usize.saturating_sub(command.len()));
            add(command, 2, count as i32);
            command.extend(std::iter::repeat_n(byte, count));
        }
    }
}

fn add(command: &mut [u8], at: usize, off: i32) {
    if let Some(field) = command.get_mut(at..at + 4) {
        let value =
            u32::from_be_bytes([field[0], field[1], field[2], field[3]]).wrapping_add(off as u32);
        field.copy_from_slice(&value.to_be_bytes());
    }
}
