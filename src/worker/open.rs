//! A page that stays open between tasks, for those that can share it.

use super::failure::TaskResult;
use super::lane::pass_on_logs;
use super::page::{Page, Setup};
use super::site::Site;
use super::task::Messages;
use super::tools::Tools;
use crate::protocol::{Composition, SiteLocation};

/// An open page, and what it shows.
#[derive(Debug)]
pub(super) struct Open {
    location: SiteLocation,
    /// What the page shows; `None` while it is in use for lookups.
    composition: Option<Composition>,
    pub(super) page: Page,
}

/// What a task needs of a page.
#[derive(Debug, Clone, Copy)]
pub(super) struct Need<'a> {
    pub(super) tools: &'a Tools,
    pub(super) location: &'a SiteLocation,
    pub(super) site: &'a Site,
    pub(super) setup: &'a Setup,
    pub(super) composition: Option<&'a Composition>,
    /// Where goes what the page says meanwhile.
    pub(super) messages: &'a Messages,
}

impl Need<'_> {
    async fn page(self) -> TaskResult<Page> {
        Page::open(self.tools, self.site, self.setup).await
    }
}

impl Open {
    /// A page for `need`: `kept` as it is, `kept` with the site loaded anew, or a page in a browser of its own.
    pub(super) async fn for_need(kept: Option<Self>, need: Need<'_>) -> TaskResult<Self> {
        let mut page = match kept {
            Some(kept) if kept.fits(need) => return Ok(kept),
            Some(kept) if kept.can_be_loaded_anew(need) => {
                let Need {
                    tools, site, setup, ..
                } = need;
                match kept.page.load_anew(tools, site, setup).await {
                    Ok(page) => page,
                    // What goes wrong in a browser that was used before may not go wrong in a new one.
                    Err(failure) => {
                        tracing::warn!("loading the page anew: {failure}");
                        need.page().await?
                    }
                }
            }
            Some(kept) => {
                kept.page.close().await;
                need.page().await?
            }
            None => need.page().await?,
        };
        if let Some(composition) = need.composition {
            let shown = page.show(composition).await;
            // What it says may be why.
            pass_on_logs(&mut page, need.messages);
            shown?;
        }
        Ok(Self {
            location: need.location.clone(),
            composition: need.composition.cloned(),
            page,
        })
    }

    /// Whether the page can be used as it is.
    pub(super) fn fits(&self, need: Need<'_>) -> bool {
        let mut same = self.page.setup().clone();
        same.initial_frame = need.setup.initial_frame;
        same.attempt = need.setup.attempt;
        self.location == *need.location
            && same == *need.setup
            && self.composition.as_ref() == need.composition
    }

    /// Whether its browser can be used: what a window was opened with cannot be changed, and no site meets another one's
    /// browser. Of a site elsewhere the browser would still have what an earlier page stored, for its origin is the same.
    pub(super) fn can_be_loaded_anew(&self, need: Need<'_>) -> bool {
        self.location == *need.location
            && !matches!(need.site, Site::Url(_))
            && self.page.setup().has_window_of(need.setup)
    }
}
