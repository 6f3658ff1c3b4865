//! What Anthropic's organisation endpoints give: pages of `cost_report` or `usage_report/messages`; several pages may stand in one file.
//!
//! Costs come as a decimal text of cents, and without the priority tier. Of a cost without a token type the class is not known. What searches
//! cost comes without a model.

use schemas::{time::Time, tokens::TokenClass};
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use super::{Grouped, Line, Page, amount, export::Bucket};

#[derive(Deserialize)]
struct Written {
    data: Vec<Results>,
    #[serde(default)]
    has_more: bool,
}

#[derive(Deserialize)]
struct Results {
    starting_at: String,
    ending_at: Option<String>,
    results: Vec<Of>,
}

/// A result of either endpoint.
#[derive(Deserialize)]
struct Of {
    currency: Option<String>,
    amount: Option<String>,
    description: Option<String>,
    cost_type: Option<String>,
    token_type: Option<String>,
    model: Option<String>,
    workspace_id: Option<String>,
    api_key_id: Option<String>,
    #[serde(default)]
    service_tier: Value,
    #[serde(default)]
    context_window: Value,
    #[serde(default)]
    inference_geo: Value,
    uncached_input_tokens: Option<i128>,
    cache_read_input_tokens: Option<i128>,
    output_tokens: Option<i128>,
    cache_creation: Option<Creation>,
    server_tool_use: Option<Tools>,
}

#[derive(Deserialize)]
struct Creation {
    #[serde(default)]
    ephemeral_5m_input_tokens: i128,
    #[serde(default)]
    ephemeral_1h_input_tokens: i128,
}

#[derive(Deserialize)]
struct Tools {
    #[serde(default)]
    web_search_requests: i128,
}

/// Reads the pages.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<Page>, String> {
    let mut pages = Vec::new();
    for page in serde_json::Deserializer::from_slice(bytes).into_iter::<&RawValue>() {
        let page = page.map_err(|error| format!("the file is not JSON: {error}"))?;
        let written: Vec<Written> = if page.get().starts_with('[') {
            serde_json::from_str(page.get())
        } else {
            serde_json::from_str(page.get()).map(|page| vec![page])
        }
        .map_err(|error| format!("it is not a page of cost_report or usage_report/messages: {error}"))?;
        for written in written {
            pages.push(written.page()?);
        }
    }
    Ok(pages)
}

impl Written {
    fn page(self) -> Result<Page, String> {
        let mut page = Page { has_more: self.has_more, ..Page::default() };
        for bucket in self.data {
            let at = |text: &str| Time::parse(text).map_err(|_| format!("{text:?} is no time"));
            let ends = bucket.ending_at.as_deref().and_then(|text| at(text).ok());
            let (time, before) = (Bucket { starts: at(&bucket.starting_at)?, ends, lines: 0 }, page.lines.len());
            for result in bucket.results {
                result.lines(time, &mut page.lines)?;
            }
            page.buckets.push(Bucket { lines: page.lines.len() - before, ..time });
        }
        Ok(page)
    }
}

impl Of {
    fn lines(self, bucket: Bucket, lines: &mut Vec<Line>) -> Result<(), String> {
        let groups =
            [&self.model, &self.description, &self.cost_type, &self.token_type, &self.workspace_id, &self.api_key_id];
        let finer = [&self.service_tier, &self.context_window, &self.inference_geo].map(Value::to_string);
        let grouped = Grouped { by: format!("{groups:?}"), finer };
        let key = self.api_key_id.or(self.workspace_id);
        let is_search = self.cost_type.as_deref() == Some("web_search");
        // What is no model is something else that is paid for, but for searches, which models make.
        let model = self.model.or(self.description.filter(|_| !is_search)).unwrap_or_default();
        let line = |class, quantity, cost| Line {
            day: bucket.day(),
            starts: bucket.starts,
            model: model.clone(),
            class,
            key: key.clone(),
            grouped: grouped.clone(),
            quantity,
            cost,
            id: None,
        };
        if let Some(text) = self.amount {
            let currency = self.currency.unwrap_or_default();
            if !currency.eq_ignore_ascii_case("usd") {
                return Err(format!("an amount is in {currency:?}; only USD can be compared"));
            }
            // A cent at twelve decimals of a dollar is one at ten.
            let cost = amount::scaled(&text, 10).ok_or_else(|| format!("{text:?} is no amount"))?;
            let class =
                if is_search { Some(TokenClass::WebSearch) } else { self.token_type.as_deref().and_then(class_of) };
            lines.push(line(class, None, Some(schemas::money::Pico(cost))));
            return Ok(());
        }
        let (creation, tools) = (self.cache_creation, self.server_tool_use);
        let counts = [
            (TokenClass::UncachedInput, self.uncached_input_tokens),
            (TokenClass::CacheRead, self.cache_read_input_tokens),
            (TokenClass::CacheWrite5m, creation.as_ref().map(|creation| creation.ephemeral_5m_input_tokens)),
            (TokenClass::CacheWrite1h, creation.as_ref().map(|creation| creation.ephemeral_1h_input_tokens)),
            (TokenClass::Output, self.output_tokens),
            (TokenClass::WebSearch, tools.map(|tools| tools.web_search_requests)),
        ];
        if counts.iter().all(|(_, count)| count.is_none()) {
            return Err("a result has neither an amount nor tokens".into());
        }
        let counted =
            counts.iter().filter_map(|(class, count)| count.filter(|count| *count != 0).map(|count| (*class, count)));
        lines.extend(counted.map(|(class, count)| line(Some(class), Some(count), None)));
        Ok(())
    }
}

fn class_of(kind: &str) -> Option<TokenClass> {
    match kind {
        "uncached_input_tokens" => Some(TokenClass::UncachedInput),
        "cache_read_input_tokens" => Some(TokenClass::CacheRead),
        "cache_creation.ephemeral_5m_input_tokens" => Some(TokenClass::CacheWrite5m),
        "cache_creation.ephemeral_1h_input_tokens" => Some(TokenClass::CacheWrite1h),
        "output_tokens" => Some(TokenClass::Output),
        _ => None,
    }
}
