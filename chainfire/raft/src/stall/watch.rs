use std::sync::Arc;

use holdfast_service::Stop;
use tokio::time::{Instant, sleep};

use super::{
    Stall,
    news::{News, Telling},
};
use crate::{Timing, group::Life, log::LogDb};

/// Watches how long the log waits for its disk until the server ends.
pub(crate) async fn run(log: Arc<LogDb>, groups: Vec<Arc<dyn Life>>, timing: Timing, closing: Stop) {
    let (unsynced, mut telling) = (log.unsynced(), Telling::default());
    loop {
        tokio::select! {
            () = closing.requested() => return,
            () = sleep(timing.heartbeat) => {}
        }
        let stall = Stall::of(unsynced.age(), &timing);
        if let Some(news) = telling.news(stall, Instant::now()) {
            tell(&log, &news);
        }
        for group in &groups {
            group.bear(stall).await;
        }
    }
}

fn tell(log: &LogDb, news: &News) {
    let log = log.path().display();
    match news {
        News::Lasts(lasting) => tracing::error!(
            %log,
            ?lasting,
            "the disk does not sync the log: this server acknowledges nothing and leads nothing that another one can; \
             look at the disk"
        ),
        News::Over(lasted) => tracing::info!(%log, ?lasted, "the disk syncs the log again"),
    }
}
