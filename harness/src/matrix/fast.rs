//! The fast roster: every check of the matrix once, where it costs least.
//!
//! A mutant of the suite's own code meets the whole matrix, thousands of times over; what it needs of it is every check, not every column. Models
//! are taken smallest first, as published before any column, and prompts shortest first; what adds no check is left out. It proves less
//! than the matrix does, so the summary says it, and counts what it left out.

use std::collections::BTreeSet;

use super::{Matrix, Row, Subject, Task};
use crate::cell::Origin;

impl Matrix {
    /// Leaves out every row of a check that a cheaper row was kept of. Problems of the lists stay, and gates of the cells that do.
    pub fn keep_fast(&mut self) {
        let cells = &self.cells;
        let cost = |row: &Row| {
            let (cell, subject) = row.task.cell()?;
            let index = &cells[cell].entry.golden.index;
            let length = match subject {
                Subject::Prompt(i) => index.prompts[i].n_prompt + index.prompts[i].n_greedy,
                Subject::Cell | Subject::Text(_) | Subject::Style(_) => 0,
            };
            let converted = !matches!(cells[cell].origin, Origin::Published);
            Some((!cells[cell].entry.golden.index.carried, index.parameters, converted, cell, length, subject))
        };
        let mut order: Vec<usize> =
            (0..self.rows.len()).filter(|i| self.rows[*i].not_tested.is_none() && cost(&self.rows[*i]).is_some()).collect();
        order.sort_by_key(|i| cost(&self.rows[*i]));
        let mut seen = BTreeSet::new();
        let mut kept: BTreeSet<usize> = order.into_iter().filter(|i| seen.insert(id(&self.rows[*i].task))).collect();
        let open: BTreeSet<usize> = kept.iter().filter_map(|i| self.rows[*i].task.cell()).map(|(cell, _)| cell).collect();
        kept.extend((0..self.rows.len()).filter(|i| match &self.rows[*i].task {
            Task::Problem(_) => true,
            Task::Gate { cell } => open.contains(cell),
            _ => false,
        }));
        let before = self.rows.len();
        let mut place = 0..;
        self.rows.retain(|_| place.next().is_some_and(|place| kept.contains(&place)));
        self.coverage.left_out = before - self.rows.len();
    }
}

/// The id of a row's check, of whatever kind.
fn id(task: &Task) -> &'static str {
    match task {
        Task::Problem(_) => "",
        Task::Gate { .. } => super::GATE,
        Task::Conversion { .. } => super::CONVERSION,
        Task::List { .. } => super::LIST,
        Task::Check { check, .. } => check.id,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::roster::{Problem, Roster, Settings};
    use crate::runtime::Runtime;
    use crate::runtime::native::NativeRuntime;
    use crate::workspace::Workspace;

    fn carried() -> Matrix {
        let roster = Roster::read(&Workspace::from_env(), &Settings::default());
        Matrix::new(&roster, &NativeRuntime::new().capabilities())
    }

    fn ids(matrix: &Matrix) -> BTreeSet<&'static str> {
        matrix.rows.iter().filter(|row| row.not_tested.is_none()).map(|row| id(&row.task)).collect()
    }

    #[test]
    fn every_check_of_the_matrix_is_in_the_fast_roster() {
        let whole = carried();
        let mut fast = carried();
        fast.keep_fast();
        assert_eq!(ids(&fast), ids(&whole));
        assert_eq!(fast.coverage.left_out, whole.rows.len() - fast.rows.len());
        let gates = fast.rows.iter().filter(|row| matches!(row.task, Task::Gate { .. })).count();
        assert!(fast.rows.len() < ids(&whole).len() + gates, "{} rows for {} checks", fast.rows.len(), ids(&whole).len());
    }

    #[test]
    fn the_fast_roster_is_a_part_of_the_matrix_in_its_order_and_keeps_what_is_wrong() {
        let mut whole = carried();
        whole.problem(Problem::new("x", "y", "z"));
        let names = |matrix: &Matrix| matrix.rows.iter().map(|row| row.name.clone()).collect::<Vec<_>>();
        let all = names(&whole);
        whole.keep_fast();
        let kept = names(&whole);
        assert!(kept.contains(&"matrix::x".to_owned()));
        let mut rest = all.iter();
        assert!(kept.iter().all(|name| rest.any(|other| other == name)), "{kept:?}");
    }
}
