//! Where values stand on an axis: from zero, or what is less, to the most, in steps that are read easily.

/// An axis.
pub(super) struct Scale {
    step: f64,
    /// How many steps its beginning is from zero.
    first: f64,
    steps: u32,
}

impl Scale {
    /// The axis of some values.
    pub(super) fn of(values: impl Iterator<Item = f64>) -> Self {
        let (least, most) = values.fold((0.0_f64, 0.0_f64), |(least, most), value| (least.min(value), most.max(value)));
        let most = if most - least > 0.0 { most } else { 1.0 };
        let rough = (most - least) / 4.0;
        let power = 10.0_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0].map(|times| times * power).into_iter().find(|step| *step >= rough);
        let step = step.unwrap_or(10.0 * power);
        let first = (least / step).floor();
        let mut steps = 1_u32;
        while step * (first + f64::from(steps)) < most && steps < 12 {
            steps += 1;
        }
        Self { step, first, steps }
    }

    /// What its steps are.
    pub(super) fn ticks(&self) -> impl Iterator<Item = f64> {
        (0..=self.steps).map(move |step| self.step * (self.first + f64::from(step)))
    }

    /// Which part of the axis lies before a value.
    pub(super) fn part(&self, value: f64) -> f64 {
        (value / self.step - self.first) / f64::from(self.steps)
    }
}
