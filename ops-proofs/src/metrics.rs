//! One value of a server's metrics page.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

const CALL: Duration = Duration::from_secs(5);
/// The longest page that is read.
const PAGE: u64 = 1 << 20;

/// The value of a metric without labels at `host:port`.
pub(crate) async fn sample(address: &str, token: &str, name: &str) -> Result<u64> {
    let page = tokio::time::timeout(CALL, page(address, token)).await.context("the metrics page took too long")??;
    find(&page, name)
}

async fn page(address: &str, token: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address).await.with_context(|| format!("cannot reach {address}"))?;
    // HTTP/1.0: the page ends with the connection and comes in one piece.
    let request = format!("GET /metrics HTTP/1.0\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut page = String::new();
    stream.take(PAGE).read_to_string(&mut page).await.context("cannot read the metrics page")?;
    Ok(page)
}

fn find(page: &str, name: &str) -> Result<u64> {
    if page.split_whitespace().nth(1) != Some("200") {
        bail!("the metrics page says {:?}", page.lines().next().unwrap_or_default());
    }
    let value = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let value = value.with_context(|| format!("no metric {name}"))?;
    value.trim().parse().with_context(|| format!("{name} is {value:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_found_by_its_whole_name() {
        let page = "HTTP/1.0 200 OK\r\n\r\n# TYPE used gauge\nused_most 9\nused 7\n";
        assert_eq!(find(page, "used").unwrap(), 7);
        assert!(find(page, "use").is_err());
        assert!(find("HTTP/1.0 401 Unauthorized\r\n\r\nused 7\n", "used").is_err());
    }
}
