//! Sockets that the port listens on: of TCP, of a path, or from systemd.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use listenfd::ListenFd;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener, UnixStream};

/// What addresses of sockets in the file system begin with.
const UNIX: &str = "unix:";

/// Send buffer of a connection, in bytes. It is limited so that a client that stops reading soon blocks the writes.
const SEND_BUFFER: usize = 256 << 10;

/// A connection of any kind.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Stream for T {}

/// A listening socket.
#[derive(Debug)]
pub struct Listener {
    /// The address as it was asked for.
    pub name: String,
    socket: Socket,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    /// The path is removed when the socket is closed, if it was made here.
    Unix(UnixListener, Option<PathBuf>),
}

impl Listener {
    /// Listens on an address: `HOST:PORT`, `:PORT` of every address of the machine, or `unix:PATH`.
    ///
    /// # Errors
    /// When that is not possible.
    pub async fn bind(name: &str) -> anyhow::Result<Self> {
        let failed = || format!("cannot listen on {name}");
        let socket = if let Some(path) = name.strip_prefix(UNIX) {
            let path = Path::new(path);
            let listener = bind_path(path).await.with_context(failed)?;
            Socket::Unix(listener, Some(path.to_owned()))
        } else {
            let all = if name.starts_with(':') { format!("0.0.0.0{name}") } else { name.to_owned() };
            Socket::Tcp(TcpListener::bind(&all).await.with_context(failed)?)
        };
        Ok(Self { name: name.to_owned(), socket })
    }

    /// The sockets that systemd has given us (`LISTEN_FDS` of `sd_listen_fds(3)`).
    ///
    /// # Errors
    /// When there are none, or one of them is of another kind.
    pub fn from_systemd() -> anyhow::Result<Vec<Self>> {
        let mut given = ListenFd::from_env();
        let mut listeners = Vec::new();
        for n in 0..given.len() {
            let name = format!("systemd socket {n}");
            let socket = if let Ok(Some(listener)) = given.take_tcp_listener(n) {
                listener.set_nonblocking(true)?;
                Socket::Tcp(TcpListener::from_std(listener)?)
            } else if let Ok(Some(listener)) = given.take_unix_listener(n) {
                listener.set_nonblocking(true)?;
                Socket::Unix(UnixListener::from_std(listener)?, None)
            } else {
                bail!("{name} is not a listening stream socket; use ListenStream= in its unit");
            };
            listeners.push(Self { name, socket });
        }
        if listeners.is_empty() {
            bail!("systemd has given no socket: --web.systemd-socket needs a socket unit that starts the exporter");
        }
        Ok(listeners)
    }

    /// Of a socket that listens already.
    pub fn from_tcp(socket: TcpListener) -> Self {
        let name = socket.local_addr().map(|address| address.to_string()).unwrap_or_default();
        Self { name, socket: Socket::Tcp(socket) }
    }

    /// The address it listens on; `None` of a path.
    pub fn address(&self) -> Option<SocketAddr> {
        match &self.socket {
            Socket::Tcp(listener) => listener.local_addr().ok(),
            Socket::Unix(..) => None,
        }
    }

    /// Whether only programs of this machine can connect.
    pub fn is_local(&self) -> bool {
        self.address().is_none_or(|address| address.ip().is_loopback())
    }

    /// Waits for the next connection; it comes from this address. A client of a path is one of this machine.
    pub async fn accept(&self) -> io::Result<(Box<dyn Stream>, IpAddr)> {
        match &self.socket {
            Socket::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                // On failure the system's defaults apply. Without delay, because a handshake and headers are small.
                let _ = stream.set_nodelay(true);
                let _ = SockRef::from(&stream).set_send_buffer_size(SEND_BUFFER);
                Ok((Box::new(stream), peer.ip()))
            }
            Socket::Unix(listener, _) => {
                let (stream, _) = listener.accept().await?;
                let _ = SockRef::from(&stream).set_send_buffer_size(SEND_BUFFER);
                Ok((Box::new(stream), Ipv4Addr::LOCALHOST.into()))
            }
        }
    }
}

impl fmt::Display for Listener {
    /// Where it listens.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address() {
            Some(address) => write!(f, "{address}"),
            None => f.write_str(&self.name),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Socket::Unix(_, Some(path)) = &self.socket {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Listens on a path. A socket that nobody listens on is what a killed process has left, and is replaced.
async fn bind_path(path: &Path) -> anyhow::Result<UnixListener> {
    let is_socket = path.symlink_metadata().is_ok_and(|metadata| metadata.file_type().is_socket());
    if is_socket {
        match UnixStream::connect(path).await {
            Ok(_) => bail!("another process listens there"),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path)?,
            Err(_) => {}
        }
    }
    let listener = UnixListener::bind(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => anyhow::anyhow!("the folder does not exist; create it first"),
        _ => error.into(),
    })?;
    // Connecting needs the right to write: the permissions of the folder decide who may, as they do for other users' proxies.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666))?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_left_by_a_killed_process_is_replaced_and_no_other_file_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let name = format!("unix:{}", path.display());
        let first = Listener::bind(&name).await.unwrap();
        assert!(first.is_local() && first.address().is_none());
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o666, "the folder decides");
        let error = format!("{:#}", Listener::bind(&name).await.unwrap_err());
        assert!(error.contains("another process listens there") && error.contains(&name), "{error}");
        drop(first);
        assert!(!path.exists());
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "as after a kill");
        drop(Listener::bind(&name).await.unwrap());
        std::fs::write(&path, "data").unwrap();
        assert!(Listener::bind(&name).await.is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "data");
    }
}
