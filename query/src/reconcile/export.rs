//! All pages of an export as one: what it says of which day, and that none is missing.
//!
//! A bucket without results states that its day has nothing, of what the endpoint counts. A page after which there is more must be followed
//! by the one that goes on where it ends, in whichever file that is: half an export would call the other half ours alone.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use schemas::{event::Operation, money::Pico, time::Time, tokens::TokenClass};

use super::{Book, Cell, Endpoint, Endpoints, Grouped, Line, Names};

/// What is stated of a day without exception: what has no line then has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stated {
    /// Tokens and units, of what these count.
    pub usage: Endpoints,
    /// Money; the lines of it may have quantities besides.
    pub costs: bool,
}

/// A page of an export.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The time of each of its buckets.
    pub buckets: Vec<Bucket>,
    /// Its lines.
    pub lines: Vec<Line>,
    /// Whether the provider has more behind it.
    pub has_more: bool,
    /// The endpoint whose usage it states, where the file says which; else lines without money are of one that counts everything.
    pub usage: Endpoints,
    /// What of it is not compared.
    pub left_out: Vec<Aside>,
}

/// A line that is compared with nothing here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aside {
    /// What it is.
    pub what: String,
    /// As [`Line::id`].
    pub id: Option<String>,
    /// What it comes to, if it states money.
    pub cost: Option<Pico>,
}

/// Lines of a page.
type Lines<'page> = Vec<&'page Line>;

/// What is in a file and is compared with nothing here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// How many lines.
    pub lines: u64,
    /// What they come to; nothing if they state no money.
    pub cost: Option<Pico>,
}

impl LeftOut {
    /// Adds another.
    pub fn add(&mut self, other: Self) {
        self.lines += other.lines;
        if let Some(cost) = other.cost {
            *self.cost.get_or_insert_default() += cost;
        }
    }
}

/// The time of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// From when on.
    pub starts: Time,
    /// Up to when, if the file says.
    pub ends: Option<Time>,
    /// How many lines of its page are in it, in the order of the buckets; none where lines tell themselves when they are.
    pub lines: usize,
}

/// What the pages say together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Export {
    /// Every line.
    pub lines: Vec<Line>,
    /// The days in UTC that it is about, as YYYY-MM-DD.
    pub days: BTreeMap<String, Stated>,
    /// What is in it and is not compared, by what it is.
    pub left_out: BTreeMap<String, LeftOut>,
    /// How many lines are given once more, by what their file tells them apart by, and are taken once.
    pub again: u64,
}

/// An export as a side of the comparison.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Invoice {
    /// What its lines add up to.
    pub book: Book,
    /// The days that it is about.
    pub days: BTreeMap<String, Stated>,
}

impl Bucket {
    /// The day in UTC that it begins in.
    pub(super) fn day(self) -> String {
        self.starts.to_string().chars().take(10).collect()
    }

    /// The day in UTC that it ends in, if that is another one: what is in it is then of no day.
    fn runs_into(self) -> Option<String> {
        let last = self.ends.map(|ends| ends.earlier(Duration::from_micros(1))).filter(|last| *last > self.starts)?;
        Some(Self { starts: last, ..self }.day()).filter(|day| *day != self.day())
    }
}

impl Page {
    /// What it states. A page without any line does not say of which endpoint it is.
    fn stated(&self) -> Stated {
        let costs = self.lines.iter().any(|line| line.cost.is_some());
        let usage = match (costs || self.lines.is_empty(), self.usage) {
            (false, usage) if !usage.any() => Endpoints::of(Endpoint::All),
            (_, usage) => usage,
        };
        Stated { usage, costs }
    }

    /// Its buckets with their lines that nothing names, and when the others begin that nothing names, in an order that does not depend on that
    /// of the file.
    fn parts(&self) -> (Vec<(Bucket, Lines<'_>)>, BTreeMap<Time, Lines<'_>>) {
        let mut rest = self.lines.iter();
        let mut parts = Vec::new();
        for bucket in &self.buckets {
            let lines: Lines<'_> = rest.by_ref().take(bucket.lines).filter(|line| line.id.is_none()).collect();
            if !lines.is_empty() {
                parts.push((*bucket, lines));
            }
        }
        let mut others: BTreeMap<Time, Lines<'_>> = BTreeMap::new();
        rest.filter(|line| line.id.is_none()).for_each(|line| others.entry(line.starts).or_default().push(line));
        others.values_mut().for_each(|lines| lines.sort());
        (parts, others)
    }

    /// Whether another goes on where this ends: with its last bucket, or right behind it.
    fn goes_on_in(&self, other: &Self) -> bool {
        let (Some(last), Some(first)) = (self.buckets.last(), other.buckets.first()) else { return false };
        let (one, next) = (self.stated(), other.stated());
        let alike = one == next || one == Stated::default() || next == Stated::default();
        alike && first.starts >= last.starts && last.ends.is_none_or(|ends| first.starts <= ends)
    }
}

/// Takes each line once that its file tells apart from all others, and says how many stood there once more. It takes them out of their page,
/// whose buckets count them where they stand.
fn once<L: Clone + PartialEq>(
    lines: Vec<L>,
    named: fn(&L) -> Option<&str>,
    seen: &mut BTreeMap<String, L>,
    taken: &mut Vec<L>,
) -> Result<u64, String> {
    let mut again = 0;
    for line in lines {
        if let Some(id) = named(&line) {
            match seen.get(id) {
                Some(other) if *other == line => {
                    again += 1;
                    continue;
                }
                Some(_) => {
                    return Err(format!(
                        "the line {id} is given twice, and not alike: give the files of one state of the report"
                    ));
                }
                None => drop(seen.insert(id.to_owned(), line.clone())),
            }
        }
        taken.push(line);
    }
    Ok(again)
}

/// A time as it is told: a day by its date.
fn shown(at: Time) -> String {
    let at = at.to_string();
    at.strip_suffix("T00:00:00.000000Z").map_or(at.clone(), str::to_owned)
}

/// Refuses what stands twice, in one page or in two, in whichever order.
///
/// OpenAI and Anthropic group the results of a bucket, so no two of one fetch are grouped alike: one that is once more is fetched again,
/// whatever it has come to since, and be it with tiers or users told apart. Results of the same bucket that are grouped otherwise are its rest
/// in the next page, or of another account, and those of another endpoint are other usage: they add up. The buckets of one fetch have one
/// width, so what overlaps with other bounds is fetched twice. AWS groups nothing, and breaks a report into files anywhere: without what tells lines apart (else they are taken once) two
/// alike may be two, so only a time with all of its lines stands twice. Of what is left out two alike may be two as well, as taxes of two
/// accounts are; it is compared with nothing, so it refuses nothing.
fn refuse_twice(pages: &[Page]) -> Result<(), String> {
    let mut spans = BTreeSet::<(Stated, Time, Time)>::new();
    let mut grouped = BTreeMap::<(Stated, Time, &str), Vec<&Grouped>>::new();
    let mut times = BTreeSet::new();
    let twice = |at: Time, how: &str| Err(format!("the bucket of {} is given twice, {how}", shown(at)));
    for page in pages {
        let (of, (parts, others)) = (page.stated(), page.parts());
        for (bucket, lines) in parts {
            spans.extend(bucket.ends.map(|ends| (of, bucket.starts, ends)));
            // Within a bucket several lines are of one result.
            let groups: BTreeSet<&Grouped> = lines.into_iter().map(|line| &line.grouped).collect();
            let is_again = groups.iter().any(|group| {
                let before = grouped.get(&(of, bucket.starts, group.by.as_str()));
                before.is_some_and(|others| others.iter().any(|other| other.meets(group)))
            });
            if is_again {
                return twice(
                    bucket.starts,
                    "with lines that are grouped alike: give each page of one fetch once; accounts that nothing tells apart (group_by) are compared one by one",
                );
            }
            for group in groups {
                grouped.entry((of, bucket.starts, group.by.as_str())).or_default().push(group);
            }
        }
        for part in others {
            let at = part.0;
            if !times.insert(part) {
                return twice(at, "with the same lines: give each page once");
            }
        }
    }
    // Ordered by when they begin, so if any two overlap, two neighbours do.
    let overlap = spans.iter().zip(spans.iter().skip(1)).find(|(one, next)| one.0 == next.0 && next.1 < one.2);
    overlap.map_or(Ok(()), |(one, next)| {
        twice(next.1, &format!("in that of {} with other bounds too: give the files of one bucket_width", shown(one.1)))
    })
}

impl Invoice {
    /// Whether the quantity of such charges of a day can be compared: where the export has usage of that day, it has to be of an endpoint that
    /// counts them.
    pub fn counts(&self, day: &str, operation: Operation, class: Option<TokenClass>) -> bool {
        self.days.get(day).is_none_or(|stated| !stated.usage.any() || stated.usage.count(operation, class))
    }
}

impl Export {
    /// Puts pages together.
    ///
    /// # Errors
    /// If a page is missing, or stands twice, or a bucket is of more days than one.
    pub fn of(pages: Vec<Page>) -> Result<Self, String> {
        for (at, page) in pages.iter().enumerate().filter(|(_, page)| page.has_more) {
            let others = pages.iter().enumerate().filter(|(other, _)| *other != at);
            if !others.into_iter().any(|(_, other)| page.goes_on_in(other)) {
                let last = page.buckets.last().map_or("any day".into(), |bucket| bucket.day());
                return Err(format!(
                    "the export goes on after {last} (has_more): fetch its next_page too, and give all pages"
                ));
            }
        }
        for bucket in pages.iter().flat_map(|page| &page.buckets) {
            if let Some(last) = bucket.runs_into() {
                return Err(format!(
                    "the bucket of {} goes on until {last}: only whole days in UTC, or parts of one, can be compared; fetch it by days (bucket_width=1d)",
                    bucket.starts
                ));
            }
        }
        refuse_twice(&pages)?;
        let mut days: BTreeMap<String, Stated> = BTreeMap::new();
        for page in &pages {
            let stated = page.stated();
            for bucket in &page.buckets {
                let day = days.entry(bucket.day()).or_default();
                (day.usage, day.costs) = (day.usage.and(stated.usage), day.costs || stated.costs);
            }
        }
        // Of a day of pages without lines: what the others state, or both.
        let usage = days.values().fold(Endpoints::default(), |all, day| all.and(day.usage));
        let said = Stated { usage, costs: days.values().any(|day| day.costs) };
        let everything = Stated { usage: Endpoints::of(Endpoint::All), costs: true };
        let unsaid = if said == Stated::default() { everything } else { said };
        for day in days.values_mut().filter(|day| **day == Stated::default()) {
            *day = unsaid;
        }
        let (mut again, mut lines, mut asides) = (0, Vec::new(), Vec::new());
        let (mut seen, mut aside) = (BTreeMap::new(), BTreeMap::new());
        for page in pages {
            again += once(page.lines, |line| line.id.as_deref(), &mut seen, &mut lines)?;
            again += once(page.left_out, |line| line.id.as_deref(), &mut aside, &mut asides)?;
        }
        let mut left_out = BTreeMap::<String, LeftOut>::new();
        for Aside { what, cost, .. } in asides {
            left_out.entry(what).or_default().add(LeftOut { lines: 1, cost });
        }
        Ok(Self { lines, days, left_out, again })
    }

    /// What its lines add up to. Without names of keys all accounts are one. Where there is usage of a day, the quantities of its costs
    /// are the same once more.
    pub fn invoice(&self, names: &Names) -> Invoice {
        let mut book = Book::new();
        for line in &self.lines {
            let account = match (&line.key, names.keys.is_empty()) {
                (_, true) | (None, _) => String::new(),
                (Some(key), false) => names.keys.get(key).cloned().unwrap_or_else(|| format!("? {key}")),
            };
            let model = names.theirs(&line.model);
            let side = book.entry(Cell { day: line.day.clone(), model, class: line.class, account }).or_default();
            let again = line.cost.is_some() && self.days.get(&line.day).is_some_and(|day| day.usage.any());
            if let Some(quantity) = line.quantity.filter(|_| !again) {
                *side.quantity.get_or_insert_default() += quantity;
            }
            if let Some(cost) = line.cost {
                *side.cost.get_or_insert_default() += cost;
            }
        }
        Invoice { book, days: self.days.clone() }
    }
}
