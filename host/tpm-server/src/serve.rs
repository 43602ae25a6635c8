//! Sockets: who listens where, and a thread for each connection.
//!
//! Connections share the device, one command at a time. What ends the server (a client's request, a signal) comes as
//! a message to whoever called [`Server::wait`].

use std::io::{self, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use crate::device::SharedDevice;
use crate::framing::{Framed, Source};
use crate::options::Endpoint;
use crate::swtpm::{self, Locality};
use crate::{mssim, raw};

/// Connections at one time, over all sockets; more are closed at once.
pub const MAX_CONNECTIONS: usize = 64;
/// How long the rest of a command may take to arrive on a data channel.
const PATIENCE: Duration = Duration::from_millis(500);

/// What a connection's end means for the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// It waits for the next one.
    Continue,
    /// It ends.
    End,
}

/// A TPM that listens.
pub struct Server {
    device: SharedDevice,
    locality: Locality,
    terminate: bool,
    connections: Arc<AtomicUsize>,
    ended: (Sender<String>, Receiver<String>),
    paths: Vec<PathBuf>,
}

/// A way to end a server from elsewhere.
#[derive(Clone)]
pub struct Ender(Sender<String>);

impl Ender {
    /// Ends it.
    pub fn end(&self, why: &str) {
        // Nobody waits: it has ended.
        let _ = self.0.send(why.to_string());
    }
}

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// A connection that was accepted.
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Server {
    /// A server for `device` that does not listen yet. With `terminate` it ends when a swtpm client goes.
    pub fn new(device: SharedDevice, locality: Locality, terminate: bool) -> Server {
        Server {
            device,
            locality,
            terminate,
            connections: Arc::default(),
            ended: channel(),
            paths: Vec::new(),
        }
    }

    /// Ends this server.
    pub fn ender(&self) -> Ender {
        Ender(self.ended.0.clone())
    }

    /// Waits for the end and says why.
    pub fn wait(&self) -> String {
        // There is always a sender: self.
        self.ended.1.recv().unwrap_or_default()
    }

    /// Listens for clients of the simulator's protocol on `port` and the next one. Returns the ports.
    ///
    /// # Errors
    /// They cannot be had.
    pub fn listen_mssim(&mut self, address: IpAddr, port: u16) -> Result<(u16, u16)> {
        let (commands, platform) = neighbours(address, port)?;
        let ports = (commands.local_addr()?.port(), platform.local_addr()?.port());
        let device = self.device.clone();
        self.accept(Listener::Tcp(commands), move |stream| {
            mssim::serve_commands(stream, &device)
        });
        let device = self.device.clone();
        self.accept(Listener::Tcp(platform), move |stream| {
            mssim::serve_platform(stream, &device)
        });
        Ok(ports)
    }

    /// Listens for clients of swtpm's protocol on `port` (data) and the next one (control). Returns the ports.
    ///
    /// # Errors
    /// They cannot be had.
    pub fn listen_swtpm(&mut self, address: IpAddr, port: u16) -> Result<(u16, u16)> {
        let (data, control) = neighbours(address, port)?;
        let ports = (data.local_addr()?.port(), control.local_addr()?.port());
        self.accept_data(Listener::Tcp(data));
        self.accept_control(Listener::Tcp(control));
        Ok(ports)
    }

    /// Listens for requests of swtpm's control channel. Returns what a client has to name.
    ///
    /// # Errors
    /// The endpoint cannot be had.
    pub fn listen_control(&mut self, endpoint: &Endpoint, default: IpAddr) -> Result<String> {
        let (listener, name) = self.bind(endpoint, default)?;
        self.accept_control(listener);
        Ok(name)
    }

    /// Listens for commands. Returns what a client has to name.
    ///
    /// # Errors
    /// The endpoint cannot be had.
    pub fn listen_data(&mut self, endpoint: &Endpoint, default: IpAddr) -> Result<String> {
        let (listener, name) = self.bind(endpoint, default)?;
        self.accept_data(listener);
        Ok(name)
    }

    fn bind(&mut self, endpoint: &Endpoint, default: IpAddr) -> Result<(Listener, String)> {
        if let Some(socket) = endpoint.socket(default) {
            let listener = bind(socket)?;
            let name = listener.local_addr()?.port().to_string();
            return Ok((Listener::Tcp(listener), name));
        }
        let Endpoint::Unix { path, mode } = endpoint else {
            bail!("{endpoint:?} is neither a port nor a path");
        };
        remove_stale(path)?;
        let listener = UnixListener::bind(path)
            .with_context(|| format!("cannot listen on {}", path.display()))?;
        self.paths.push(path.clone());
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(*mode))?;
        Ok((Listener::Unix(listener), path.display().to_string()))
    }

    fn accept_data(&self, listener: Listener) {
        let (device, locality) = (self.device.clone(), self.locality.clone());
        let after = self.after_swtpm();
        self.accept(listener, move |stream| {
            let result = serve_data(stream, &device, &locality);
            result.map(|()| after)
        });
    }

    fn accept_control(&self, listener: Listener) {
        let (device, locality) = (self.device.clone(), self.locality.clone());
        let (after, ender) = (self.after_swtpm(), self.ender());
        self.accept(listener, move |stream| {
            let (device, locality) = (device.clone(), locality.clone());
            let data = |fd: OwnedFd| {
                let (device, locality, ender) = (device.clone(), locality.clone(), ender.clone());
                std::thread::spawn(move || {
                    let stream = Stream::Unix(UnixStream::from(fd));
                    let _ = serve_data(stream, &device, &locality);
                    if after == After::End {
                        ender.end("the client closed the data channel");
                    }
                });
            };
            let stream = WithFds { stream, fd: None };
            match swtpm::serve(stream, &device, &locality, data)? {
                After::End => Ok(After::End),
                After::Continue => Ok(after),
            }
        });
    }

    fn after_swtpm(&self) -> After {
        match self.terminate {
            true => After::End,
            false => After::Continue,
        }
    }

    fn accept(
        &self,
        listener: Listener,
        serve: impl Fn(Stream) -> io::Result<After> + Send + Sync + 'static,
    ) {
        let (ender, connections) = (self.ender(), self.connections.clone());
        let serve = Arc::new(serve);
        std::thread::spawn(move || {
            loop {
                let Ok(stream) = listener.accept() else {
                    // Out of descriptors, most likely: some will be closed.
                    std::thread::sleep(Duration::from_millis(50));
                    continue;
                };
                let place = Place::take(&connections);
                let (serve, ender) = (serve.clone(), ender.clone());
                std::thread::spawn(move || {
                    if place.0.load(Ordering::SeqCst) <= MAX_CONNECTIONS
                        && let Ok(After::End) = serve(stream)
                    {
                        ender.end("a client asked for it");
                    }
                    drop(place);
                });
            }
        });
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        for path in &self.paths {
            // Somebody else removed it: fine.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// One of the connections that are counted.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(connections: &Arc<AtomicUsize>) -> Place {
        connections.fetch_add(1, Ordering::SeqCst);
        Place(connections.clone())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

fn serve_data(stream: Stream, device: &SharedDevice, locality: &Locality) -> io::Result<()> {
    let mut framed = Framed::new(stream).with_patience(PATIENCE);
    raw::serve(
        &mut framed,
        |stream, bytes| stream.write_all(bytes),
        device,
        locality,
    )
}

fn bind(socket: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(socket).with_context(|| format!("cannot listen on {socket}"))
}

/// Listeners on `port` and the next one; for 0 on any such two.
fn neighbours(address: IpAddr, port: u16) -> Result<(TcpListener, TcpListener)> {
    let pair = |port: u16| -> Result<(TcpListener, TcpListener)> {
        let first = bind(SocketAddr::new(address, port))?;
        let next = first.local_addr()?.port().checked_add(1);
        let next = next.context("there is no port behind 65535")?;
        Ok((first, bind(SocketAddr::new(address, next))?))
    };
    if port != 0 {
        return pair(port);
    }
    (0..64)
        .find_map(|_| pair(0).ok())
        .context("no two free ports in a row")
}

/// Removes a socket that nobody listens on any more.
fn remove_stale(path: &Path) -> Result<()> {
    let Ok(metadata) = std::fs::symlink_metadata(path) else {
        return Ok(());
    };
    if !metadata.file_type().is_socket() {
        bail!("{} is there and is no socket", path.display());
    }
    if UnixStream::connect(path).is_ok() {
        bail!("{} is in use by another process", path.display());
    }
    std::fs::remove_file(path).with_context(|| format!("cannot remove {}", path.display()))
}

impl Listener {
    fn accept(&self) -> io::Result<Stream> {
        match self {
            Listener::Tcp(listener) => {
                let (stream, _) = listener.accept()?;
                stream.set_nodelay(true)?;
                Ok(Stream::Tcp(stream))
            }
            Listener::Unix(listener) => Ok(Stream::Unix(listener.accept()?.0)),
        }
    }
}

impl Source for Stream {
    fn receive(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => {
                // Clients write a command in two parts. Theirs waits for the acknowledgement of the first, which would
                // be held back for 40 ms. The option lasts for a while only; without it things are slow, not wrong.
                let _ = rustix::net::sockopt::set_tcp_quickack(&*stream, true);
                stream.read(bytes)
            }
            Stream::Unix(stream) => stream.read(bytes),
        }
    }

    fn patience(&mut self, patience: Option<Duration>) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => stream.set_read_timeout(patience),
            Stream::Unix(stream) => stream.set_read_timeout(patience),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.write(bytes),
            Stream::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A connection over which descriptors may come; the last one is kept until it is asked for.
struct WithFds {
    stream: Stream,
    fd: Option<OwnedFd>,
}

impl Source for WithFds {
    fn receive(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let Stream::Unix(stream) = &self.stream else {
            return self.stream.receive(bytes);
        };
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut parts = [IoSliceMut::new(bytes)];
        let received = recvmsg(stream, &mut parts, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(fds) = message {
                // All are taken, so that all but the last are closed.
                self.fd = fds.last().or(self.fd.take());
            }
        }
        Ok(received.bytes)
    }
}

impl Write for WithFds {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl swtpm::Host for WithFds {
    fn take_fd(&mut self) -> Option<OwnedFd> {
        self.fd.take()
    }
}
