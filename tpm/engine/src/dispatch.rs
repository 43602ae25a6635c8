//! From a command's bytes to its response's: the checks of Part 3 §5 in the order of its clauses, the handler, the commit.

use zeroize::Zeroize;

use crate::auth::{AuthArea, Command, LARGEST_RESPONSE, SMALLEST_AREA};
use crate::codec::{Params, Reader, Writer};
use crate::command_table::{self, CommandInfo, RHANDLE, Role};
use crate::context::Context;
use crate::limits::{MAX_COMMAND_SIZE, MAX_HANDLES};
use crate::platform::Platform;
use crate::rc::{Rc, Result};
use crate::state::{Mode, State};
use crate::types::{cc, st};
use crate::{clock, entity, persist, startup};

/// A command's or response's longest form.
pub(crate) type Packet = [u8; MAX_COMMAND_SIZE];

const HEADER: usize = 10;

/// Executes `bytes` and returns the length of the response.
pub(crate) fn execute(
    s: &mut State,
    platform: &mut dyn Platform,
    scratch: &mut Packet,
    locality: u8,
    bytes: &[u8],
    response: &mut Packet,
) -> usize {
    let mut written = 0;
    let result = run(
        s,
        platform,
        scratch,
        locality,
        bytes,
        response,
        &mut written,
    );
    // What a failed command persists: the count of wrong authorizations.
    let result = result.or_else(|rc| {
        if s.mode != Mode::Failure {
            persist::commit(s, platform)?;
        }
        Err(rc)
    });
    match result {
        Ok(len) => len,
        Err(rc) => {
            if let Some(parameters) = response.get_mut(HEADER..written) {
                parameters.fill(0);
            }
            let tag = if rc == Rc::BAD_TAG {
                st::RSP_COMMAND
            } else {
                st::NO_SESSIONS
            };
            write_header(response, tag, HEADER, rc);
            HEADER
        }
    }
}

fn write_header(response: &mut Packet, tag: u16, len: usize, rc: Rc) {
    let mut w = Writer::new(response);
    w.u16(tag);
    w.u32(len as u32);
    w.u32(rc.value());
}

/// The header (Part 3 §5.2, §5.3): whether there are sessions, which command it is.
fn header(s: &State, r: &mut Reader<'_>, len: usize) -> Result<(bool, &'static CommandInfo)> {
    let failed = s.mode == Mode::Failure;
    let sessions = match r.u16()? {
        st::NO_SESSIONS => false,
        st::SESSIONS => true,
        _ => return Err(Rc::BAD_TAG),
    };
    let size = r.u32()?;
    if usize::try_from(size).ok() != Some(len) || len > MAX_COMMAND_SIZE {
        return Err(Rc::COMMAND_SIZE);
    }
    let code = r.u32()?;
    let info = command_table::find(code).ok_or(Rc::COMMAND_CODE);
    if failed && (sessions || !matches!(code, cc::GET_TEST_RESULT | cc::GET_CAPABILITY)) {
        return Err(Rc::FAILURE);
    }
    let info = info?;
    if (s.mode == Mode::Initialized) != (code == cc::STARTUP) && !failed {
        return Err(Rc::INITIALIZE);
    }
    Ok((sessions, info))
}

/// The handle area (Part 3 §5.4).
fn handles(s: &State, info: &CommandInfo, r: &mut Reader<'_>) -> Result<[u32; MAX_HANDLES]> {
    let mut handles = [0; MAX_HANDLES];
    for (n, (place, (kind, _))) in handles.iter_mut().zip(info.handles).enumerate() {
        let handle = r
            .u32()
            .and_then(|handle| {
                if entity::is_kind(*kind, handle) {
                    Ok(handle)
                } else {
                    Err(Rc::VALUE)
                }
            })
            .map_err(|rc| rc.handle(n.saturating_add(1)))?;
        *place = handle;
    }
    for (n, (handle, _)) in handles.iter().zip(info.handles).enumerate() {
        entity::check(s, *handle, n).map_err(|rc| rc.handle(n.saturating_add(1)))?;
    }
    Ok(handles)
}

/// What `execute` does for a command that may still fail; `written` is how much of the response was touched.
fn run(
    s: &mut State,
    platform: &mut dyn Platform,
    scratch: &mut Packet,
    locality: u8,
    bytes: &[u8],
    response: &mut Packet,
    written: &mut usize,
) -> Result<usize> {
    let mut r = Reader::new(bytes);
    let (sessions, info) = header(s, &mut r, bytes.len())?;
    if s.mode == Mode::Running {
        clock::update(s, platform);
    }
    let mut command = Command {
        info,
        locality,
        handles: handles(s, info, &mut r)?,
        params: &[],
    };
    let mut auth = AuthArea::EMPTY;
    if sessions {
        let size = r.u32()? as usize;
        if size < SMALLEST_AREA || size > r.rest().len() {
            return Err(Rc::SIZE);
        }
        let area = r.bytes(size)?;
        command.params = r.rest();
        auth = AuthArea::read(s, info, area)?;
    } else {
        command.params = r.rest();
        if info.handles.iter().any(|(_, role)| *role != Role::None) {
            return Err(Rc::AUTH_MISSING);
        }
    }
    auth.authorize(s, platform, &command)?;
    let decrypted = auth.decrypt(s, command.params, scratch)?;
    let params = match decrypted {
        Some(len) => scratch.get(..len).unwrap_or(&[]),
        None => command.params,
    };

    // Where the response's parameters stand: a handle, parameterSize and the authorization area are around them.
    let (start, end) = match (info.has(RHANDLE), sessions) {
        (false, false) => (HEADER, MAX_COMMAND_SIZE),
        (true, false) => (HEADER + 4, MAX_COMMAND_SIZE),
        (false, true) => (HEADER + 4, MAX_COMMAND_SIZE - LARGEST_RESPONSE),
        (true, true) => (HEADER + 8, MAX_COMMAND_SIZE - LARGEST_RESPONSE),
    };
    let mut cx = Context {
        s: &mut *s,
        platform: &mut *platform,
        locality,
        handles: command.handles,
        params: Params::new(params),
        out: Writer::new(response.get_mut(start..end).unwrap_or(&mut [])),
        out_handle: 0,
    };
    let result = (info.run)(&mut cx);
    let Context {
        out, out_handle, ..
    } = cx;
    let stop = start.saturating_add(out.len());
    let overflowed = out.overflowed();
    *written = stop;
    if let Some(plain) = decrypted.and_then(|len| scratch.get_mut(..len)) {
        plain.zeroize();
    }
    result?;
    if overflowed {
        // No handler writes more than a response has room for.
        s.mode = Mode::Failure;
        return Err(Rc::FAILURE);
    }
    startup::after_command(s, info.cc);

    let (head, tail) = response.split_at_mut_checked(stop).ok_or(Rc::FAILURE)?;
    let (front, params) = head.split_at_mut_checked(start).ok_or(Rc::FAILURE)?;
    let size = params.len() as u32;
    let mut rp = auth.finish(s, platform, info, params)?;
    persist::commit(s, platform)?;
    let len = if sessions {
        let mut w = Writer::new(tail);
        auth.respond(s, &mut rp, &mut w)?;
        stop.saturating_add(w.finish()?)
    } else {
        stop
    };
    let mut w = Writer::new(front);
    w.u16(if sessions {
        st::SESSIONS
    } else {
        st::NO_SESSIONS
    });
    w.u32(len as u32);
    w.u32(Rc::SUCCESS.value());
    if info.has(RHANDLE) {
        w.u32(out_handle);
    }
    if sessions {
        w.u32(size);
    }
    w.finish()?;
    Ok(len)
}
