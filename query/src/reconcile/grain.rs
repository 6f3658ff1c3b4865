//! How finely an invoice tells a measure apart, day by day: ours are added up as coarsely.
//!
//! Usage and costs of one day come from two endpoints, grouped by who asked each; so tokens and money have a grain each. Where one line has
//! no class, the money of that day, model and account is compared over all classes, since nobody knows whose the line is; the same of lines
//! without a model or account; the quantities beside such money are not compared, since they are not known to be all of a class. A line without a model that is of units with a price each, such as searches, is all of that day's units of the
//! class, and says nothing of tokens.

use std::collections::BTreeSet;

use schemas::tokens::TokenClass;

use super::Cell;

/// What is not told apart.
#[derive(Debug, Default)]
pub(super) struct Grain {
    /// Days whose models are one: for units of a class, or for everything.
    models: BTreeSet<(String, Option<TokenClass>)>,
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
        let mut others = cells.iter().filter(|cell| units(cell).is_none()).peekable();
        let never = Never {
            model: others.peek().is_some() && others.all(|cell| cell.model.is_empty()),
            account: cells.iter().all(|cell| cell.account.is_empty()),
            class: some && cells.iter().all(|cell| cell.class.is_none()),
        };
        let nameless = cells.iter().filter(|cell| cell.model.is_empty());
        let models = nameless.map(|cell| (cell.day.clone(), units(cell))).collect();
        let accounts = cells.iter().filter(|cell| cell.account.is_empty()).map(|cell| cell.day.clone()).collect();
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
        let told = |text: &str, one: bool| if one { String::new() } else { text.to_owned() };
        let are_one = |class| self.models.contains(&(cell.day.clone(), class));
        let model = told(&cell.model, self.never.model || are_one(None) || are_one(units(cell)));
        (cell.day.clone(), model, told(&cell.account, self.never.account || self.accounts.contains(&cell.day)))
    }
}

/// The class, if it is of units.
fn units(cell: &Cell) -> Option<TokenClass> {
    cell.class.filter(|class| class.is_unit())
}
