//! How finely an invoice tells a measure apart, day by day: ours are added up as coarsely.
//!
//! Usage and costs of one day come from two endpoints, grouped by who asked each; so tokens and money have a grain each. Where one line has
//! no class, the money of that day, model and account is compared over all classes, since nobody knows whose the line is; the same of lines
//! without a model or account.

use std::collections::BTreeSet;

use super::Cell;

/// What is not told apart.
#[derive(Debug, Default)]
pub(super) struct Grain {
    /// Days whose models are one.
    models: BTreeSet<String>,
    /// Days whose accounts are one.
    accounts: BTreeSet<String>,
    /// Days, models and accounts whose classes are one.
    classes: BTreeSet<(String, String, String)>,
    /// What no line of the invoice tells apart: nothing is then, also of a day without lines.
    never: Never,
}

#[derive(Debug, Default)]
struct Never {
    model: bool,
    account: bool,
    class: bool,
}

impl Grain {
    /// That of lines, by their cells.
    pub(super) fn of<'a>(cells: impl Iterator<Item = &'a Cell>) -> Self {
        let cells: Vec<&Cell> = cells.collect();
        let some = !cells.is_empty();
        let never = Never {
            model: some && cells.iter().all(|cell| cell.model.is_empty()),
            account: cells.iter().all(|cell| cell.account.is_empty()),
            class: some && cells.iter().all(|cell| cell.class.is_none()),
        };
        let days = |lacks: &dyn Fn(&Cell) -> bool| {
            cells.iter().filter(|cell| lacks(cell)).map(|cell| cell.day.clone()).collect()
        };
        let models = days(&|cell| cell.model.is_empty());
        let accounts = days(&|cell| cell.account.is_empty());
        let mut grain = Self { models, accounts, classes: BTreeSet::new(), never };
        let classless = cells.iter().filter(|cell| cell.class.is_none()).map(|cell| grain.group(cell)).collect();
        grain.classes = classless;
        grain
    }

    /// The cell that another belongs to.
    pub(super) fn cell(&self, cell: &Cell) -> Cell {
        let (day, model, account) = self.group(cell);
        let class = cell.class.filter(|_| !self.never.class && !self.is_classless(cell));
        Cell { day, model, class, account }
    }

    /// Whether a line has no class where this cell belongs to.
    pub(super) fn is_classless(&self, cell: &Cell) -> bool {
        self.classes.contains(&self.group(cell))
    }

    fn group(&self, cell: &Cell) -> (String, String, String) {
        let told = |text: &str, days: &BTreeSet<String>, never: bool| {
            if never || days.contains(&cell.day) { String::new() } else { text.to_owned() }
        };
        let model = told(&cell.model, &self.models, self.never.model);
        (cell.day.clone(), model, told(&cell.account, &self.accounts, self.never.account))
    }
}
