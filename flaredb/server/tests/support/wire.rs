//! The PostgreSQL protocol by hand, for what psql does not do.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{PASSWORD, USER};

pub(crate) struct Wire {
    stream: TcpStream,
}

/// Kind and body of a message from the server.
pub(crate) type Message = (u8, Vec<u8>);

impl Wire {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self { stream: TcpStream::connect(address).await.unwrap() }
    }

    pub(crate) async fn logged_in(address: SocketAddr) -> Self {
        let mut wire = Self::connect(address).await;
        wire.startup().await;
        wire.message(b'p', &[PASSWORD.as_bytes(), b"\0"].concat()).await;
        let answers = wire.until_ready().await;
        assert!(
            answers.iter().any(|(kind, body)| (*kind, body.as_slice()) == (b'R', &[0, 0, 0, 0][..])),
            "{answers:?}"
        );
        wire
    }

    pub(crate) async fn startup(&mut self) {
        let mut body = 196_608_u32.to_be_bytes().to_vec();
        body.extend(format!("user\0{USER}\0database\0holdfast\0\0").as_bytes());
        let length = u32::try_from(body.len() + 4).unwrap();
        self.raw(&[&length.to_be_bytes()[..], &body].concat()).await;
    }

    pub(crate) async fn raw(&mut self, bytes: &[u8]) {
        // A server that has hung up is seen by the next read.
        let _ = self.stream.write_all(bytes).await;
    }

    pub(crate) async fn message(&mut self, kind: u8, body: &[u8]) {
        let length = u32::try_from(body.len() + 4).unwrap();
        self.raw(&[&[kind], &length.to_be_bytes()[..], body].concat()).await;
    }

    /// The next message; none at the end of the connection.
    pub(crate) async fn next(&mut self) -> Option<Message> {
        let kind = self.stream.read_u8().await.ok()?;
        let length = self.stream.read_u32().await.ok()?;
        let mut body = vec![0; usize::try_from(length).unwrap() - 4];
        self.stream.read_exact(&mut body).await.ok()?;
        Some((kind, body))
    }

    /// Everything up to and with ReadyForQuery, or to the end.
    pub(crate) async fn until_ready(&mut self) -> Vec<Message> {
        let mut all = Vec::new();
        while let Some(message) = self.next().await {
            let last = message.0 == b'Z';
            all.push(message);
            if last {
                break;
            }
        }
        all
    }

    /// Parse, bind, describe, execute, sync; parameters and results in the given formats.
    pub(crate) async fn extended(&mut self, sql: &str, parameters: &[(&[u8], bool)], binary: bool) -> Vec<Message> {
        self.message(b'P', &[b"\0", sql.as_bytes(), b"\0\0\0"].concat()).await;
        let mut bind = b"\0\0".to_vec();
        bind.extend(u16::try_from(parameters.len()).unwrap().to_be_bytes());
        for (_, binary) in parameters {
            bind.extend(u16::from(*binary).to_be_bytes());
        }
        bind.extend(u16::try_from(parameters.len()).unwrap().to_be_bytes());
        for (value, _) in parameters {
            bind.extend(u32::try_from(value.len()).unwrap().to_be_bytes());
            bind.extend(*value);
        }
        bind.extend([0, 1, 0, u8::from(binary)]);
        self.message(b'B', &bind).await;
        self.message(b'D', b"P\0").await;
        self.message(b'E', b"\0\0\0\0\0").await;
        self.message(b'S', b"").await;
        self.until_ready().await
    }
}

/// The SQLSTATE in an error message.
pub(crate) fn sqlstate(message: &Message) -> Option<String> {
    let (kind, body) = message;
    let field = body.split(|byte| *byte == 0).find(|field| field.first() == Some(&b'C'))?;
    (*kind == b'E').then(|| String::from_utf8_lossy(&field[1..]).into_owned())
}

/// The first column of a row.
pub(crate) fn first_column(body: &[u8]) -> &[u8] {
    let length = usize::try_from(u32::from_be_bytes(body[2..6].try_into().unwrap())).unwrap();
    &body[6..6 + length]
}
