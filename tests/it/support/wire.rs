use std::io;

use secrecy::SecretString;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
};
use url::Url;

/// A connection to PostgreSQL, whichever kind it is.
pub type Wire = Box<dyn Stream>;

pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// The same database by way of a port of this process.
pub fn detour(server: &Url, port: u16) -> SecretString {
    let mut through = server.clone();
    through.set_host(Some("127.0.0.1")).expect("a host");
    through.set_port(Some(port)).expect("a port");
    through.set_query(Some("sslmode=disable"));
    SecretString::from(through.to_string())
}

pub async fn dial(server: &Url) -> io::Result<Wire> {
    let folder = server.query_pairs().find(|(name, _)| name == "host");
    let port = server.port().unwrap_or(5432);
    Ok(match folder {
        Some((_, folder)) => {
            Box::new(UnixStream::connect(format!("{folder}/.s.PGSQL.{port}")).await?)
        }
        None => {
            let host = server.host_str().expect("a host");
            Box::new(TcpStream::connect((host, port)).await?)
        }
    })
}
