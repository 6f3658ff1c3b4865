//! Two sides held against each other, cell by cell.

use std::collections::BTreeSet;

use schemas::money::Pico;

use super::{Book, Cell, Doubts, Invoice, Side, grain::Grain};

/// How far two sides may be apart and still be alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tolerance {
    /// Of the larger side, in hundredths of a percent.
    pub basis_points: i128,
    /// Money that may differ in any case: providers round.
    pub cost: Pico,
}

impl Default for Tolerance {
    fn default() -> Self {
        Self { basis_points: 10, cost: Pico(10_000_000_000) }
    }
}

impl Tolerance {
    fn holds(self, one: i128, other: i128, in_any_case: i128) -> bool {
        let (apart, larger) = ((one - other).abs(), one.abs().max(other.abs()));
        apart <= in_any_case || apart.saturating_mul(10_000) <= larger.saturating_mul(self.basis_points)
    }
}

/// Whether the sides are alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// Within the tolerance.
    Matched,
    /// The invoice has more than we do.
    Missing,
    /// We have more than the invoice.
    Excess,
}

impl Status {
    /// Its name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Matched => "matched",
            Self::Missing => "missing",
            Self::Excess => "excess",
        }
    }
}

/// What a difference may come from: the first of these that fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// There is none.
    None,
    /// The invoice has a key that is not ours.
    OtherKey,
    /// The invoice gives back money, and nothing of ours stands beside it.
    Credit,
    /// The day is not over for the invoice: more may come to it.
    NotBilledYet,
    /// The tokens are alike, and of ours some have no price.
    Unpriced,
    /// The tokens are alike, and the money is not.
    PriceDiffers,
    /// Other classes of the day and model differ the other way by about as much: they are told apart otherwise.
    ClassDiffers,
    /// The day before or after differs the other way by about as much: calls around midnight.
    OtherDay,
    /// Of some attempts that day nobody here knows exactly what they used.
    UsageUnknown,
    /// Nothing like it passed here.
    NotSeen,
    /// Nothing like it is on the invoice.
    NotOnInvoice,
    /// Some of it differs.
    Quantity,
}

impl Cause {
    /// Its name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "",
            Self::OtherKey => "other_key",
            Self::Credit => "credit",
            Self::NotBilledYet => "not_billed_yet",
            Self::Unpriced => "unpriced",
            Self::PriceDiffers => "price_differs",
            Self::ClassDiffers => "class_differs",
            Self::OtherDay => "other_day",
            Self::UsageUnknown => "usage_unknown",
            Self::NotSeen => "not_seen",
            Self::NotOnInvoice => "not_on_invoice",
            Self::Quantity => "quantity",
        }
    }
}

/// A cell and what was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The cell.
    pub cell: Cell,
    /// What the invoice says.
    pub invoice: Side,
    /// What we say.
    pub ours: Side,
    /// Whether they are alike.
    pub status: Status,
    /// What it may come from.
    pub cause: Cause,
}

/// All cells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Each, in order.
    pub found: Vec<Found>,
}

impl Report {
    /// How many there are of a status.
    pub fn count(&self, status: Status) -> usize {
        self.found.iter().filter(|found| found.status == status).count()
    }
}

/// Holds an invoice against ours, on the days that it is about.
pub fn compare(invoice: &Invoice, ours: &Book, doubts: &Doubts, tolerance: Tolerance) -> Report {
    let (invoice, ours) = aligned(invoice, ours);
    let cells: BTreeSet<&Cell> = invoice.keys().chain(ours.keys()).collect();
    let both = Both { invoice: &invoice, ours: &ours, doubts, tolerance };
    Report { found: cells.into_iter().map(|cell| both.found(cell)).collect() }
}

/// Both sides in the same cells: quantities and money each as finely as the invoice tells them apart. What it states without exception is none
/// where it has no line.
fn aligned(invoice: &Invoice, ours: &Book) -> (Book, Book) {
    let lines = |has: fn(&Side) -> bool| invoice.book.iter().filter(move |(_, side)| has(side)).map(|(cell, _)| cell);
    let (quantities, costs) =
        (Grain::of(lines(|side| side.quantity.is_some())), Grain::of(lines(|side| side.cost.is_some())));
    let counted = invoice.book.values().any(|side| side.quantity.is_some());
    let (mut theirs, mut own) = (Book::new(), Book::new());
    // Of a line whose class nobody knows the tokens are of any: those of other lines are not all of their class. Usage of its own tells them all.
    let is_partial =
        |cell: &Cell| costs.is_classless(cell) && invoice.days.get(&cell.day).is_none_or(|stated| !stated.usage.any());
    for (cell, side) in &invoice.book {
        if let Some(quantity) = side.quantity.filter(|_| !is_partial(cell)) {
            *theirs.entry(quantities.cell(cell)).or_default().quantity.get_or_insert_default() += quantity;
        }
        if let Some(cost) = side.cost {
            *theirs.entry(costs.cell(cell)).or_default().cost.get_or_insert_default() += cost;
        }
    }
    for (cell, side) in ours {
        let Some(stated) = invoice.days.get(&cell.day) else { continue };
        let (counting, paying) = (quantities.cell(cell), costs.cell(cell));
        let line = theirs.get(&counting).copied();
        // Lines of costs have quantities besides: where none is there for a class, that is only said to be none if every line has a class.
        let none = stated.usage.any() || stated.costs && counted && line.is_none() && !costs.is_classless(cell);
        // Of what the endpoint of its usage does not count nothing is said either.
        let none = none && side.quantity.is_some();
        if none {
            theirs.entry(counting.clone()).or_default().quantity.get_or_insert(0);
        }
        if stated.costs {
            theirs.entry(paying.clone()).or_default().cost.get_or_insert_default();
        }
        let counts = none || side.quantity.is_some() && line.is_some_and(|line| line.quantity.is_some());
        let pays = stated.costs;
        match (counts, pays) {
            (true, true) if counting != paying => {
                add(own.entry(counting).or_default(), &Side { quantity: side.quantity, ..Side::default() });
                add(own.entry(paying).or_default(), &Side { quantity: None, ..*side });
            }
            (true, _) => add(own.entry(counting).or_default(), side),
            (false, true) => add(own.entry(paying).or_default(), side),
            (false, false) => {}
        }
    }
    (theirs, own)
}

fn add(sum: &mut Side, side: &Side) {
    if let Some(quantity) = side.quantity {
        *sum.quantity.get_or_insert_default() += quantity;
    }
    if let Some(cost) = side.cost {
        *sum.cost.get_or_insert_default() += cost;
    }
    sum.unpriced += side.unpriced;
}

struct Both<'a> {
    invoice: &'a Book,
    ours: &'a Book,
    doubts: &'a Doubts,
    tolerance: Tolerance,
}

impl Both<'_> {
    fn found(&self, cell: &Cell) -> Found {
        let side = |book: &Book| book.get(cell).copied().unwrap_or_default();
        let (invoice, ours) = (side(self.invoice), side(self.ours));
        let (quantity, cost) = (self.quantity(&invoice, &ours), self.cost(&invoice, &ours));
        let more = match (quantity.filter(|apart| *apart != 0).or(cost), invoice.quantity, invoice.cost) {
            // Tokens of ours that have no price, of which the invoice says that they are none: not known to cost nothing.
            (Some(0), None, Some(Pico(0))) if ours.unpriced != 0 => -1,
            (more, ..) => more.unwrap_or(0),
        };
        let status = match more {
            0 => Status::Matched,
            apart if apart > 0 => Status::Missing,
            _ => Status::Excess,
        };
        let cause = if status == Status::Matched { Cause::None } else { self.cause(cell, &invoice, &ours, quantity) };
        Found { cell: cell.clone(), invoice, ours, status, cause }
    }

    /// How much more the invoice has, 0 if they are alike; nothing if it does not say.
    fn quantity(&self, invoice: &Side, ours: &Side) -> Option<i128> {
        let (theirs, own) = (invoice.quantity?, ours.quantity.unwrap_or(0));
        Some(if self.tolerance.holds(theirs, own, 0) { 0 } else { theirs - own })
    }

    /// The same of money.
    fn cost(&self, invoice: &Side, ours: &Side) -> Option<i128> {
        let (theirs, own) = (invoice.cost?.0, ours.cost.unwrap_or_default().0);
        Some(if self.tolerance.holds(theirs, own, self.tolerance.cost.0) { 0 } else { theirs - own })
    }

    fn cause(&self, cell: &Cell, invoice: &Side, ours: &Side, quantity: Option<i128>) -> Cause {
        let nothing = |side: &Side| side.quantity.unwrap_or(0) == 0 && side.cost.unwrap_or_default().0 == 0;
        if cell.account.starts_with('?') {
            return Cause::OtherKey;
        }
        if invoice.cost.is_some_and(|cost| cost.0 < 0) && nothing(ours) {
            return Cause::Credit;
        }
        if cell.day > self.doubts.settled_through {
            return Cause::NotBilledYet;
        }
        if quantity == Some(0) || invoice.quantity.is_none() && !nothing(ours) && ours.unpriced != 0 {
            return if ours.unpriced != 0 { Cause::Unpriced } else { Cause::PriceDiffers };
        }
        // Together with many others a little is alike anyway: what is apart here has to be made up for there, but for a tenth.
        let counts = invoice.quantity.is_some();
        let own = self.apart(&|other| other == cell, counts);
        let moved = |take: &dyn Fn(&Cell) -> bool| {
            self.alike(take) && self.apart(take, counts).saturating_abs().saturating_mul(10) <= own.saturating_abs()
        };
        let of_model =
            |other: &Cell| (&other.day, &other.model, &other.account) == (&cell.day, &cell.model, &cell.account);
        if cell.class.is_some() && moved(&of_model) {
            return Cause::ClassDiffers;
        }
        let same =
            |other: &Cell| (&other.model, other.class, &other.account) == (&cell.model, cell.class, &cell.account);
        for other in [before(&cell.day), after(&cell.day)].into_iter().flatten() {
            if moved(&|one| same(one) && (one.day == cell.day || one.day == other)) {
                return Cause::OtherDay;
            }
        }
        if self.doubts.inexact.contains(&(cell.day.clone(), cell.model.clone())) {
            return Cause::UsageUnknown;
        }
        match (nothing(ours), nothing(invoice)) {
            (true, _) => Cause::NotSeen,
            (_, true) => Cause::NotOnInvoice,
            _ => Cause::Quantity,
        }
    }

    /// How much more of some cells the invoice has, in tokens or in money.
    fn apart(&self, take: &dyn Fn(&Cell) -> bool, counts: bool) -> i128 {
        let of = |side: &Side| if counts { side.quantity.unwrap_or(0) } else { side.cost.unwrap_or_default().0 };
        let sum = |book: &Book| book.iter().filter(|(cell, _)| take(cell)).map(|(_, side)| of(side)).sum::<i128>();
        sum(self.invoice) - sum(self.ours)
    }

    /// Whether the sums over some cells are alike, and there is something in them.
    fn alike(&self, take: &dyn Fn(&Cell) -> bool) -> bool {
        let sum = |book: &Book| {
            let mut sum = Side::default();
            book.iter().filter(|(cell, _)| take(cell)).for_each(|(_, side)| add(&mut sum, side));
            sum
        };
        let (invoice, ours) = (sum(self.invoice), sum(self.ours));
        let found = [self.quantity(&invoice, &ours), self.cost(&invoice, &ours)];
        found.iter().flatten().count() > 0 && found.iter().flatten().all(|apart| *apart == 0)
    }
}

fn before(day: &str) -> Option<String> {
    Some(day.parse::<jiff::civil::Date>().ok()?.yesterday().ok()?.to_string())
}

fn after(day: &str) -> Option<String> {
    Some(day.parse::<jiff::civil::Date>().ok()?.tomorrow().ok()?.to_string())
}
