//! Days, as expectations count them: calendar dates in UTC, no hours.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use toml::value::Datetime;

/// A day, counted from 1970-01-01.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Day(i64);

impl Day {
    /// Today, in UTC, by the clock of the system.
    pub fn today() -> Self {
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Self(i64::try_from(seconds / 86_400).unwrap_or(i64::MAX))
    }

    /// The day of a date (proleptic Gregorian, counted from the first of March of year 0).
    pub fn of(year: u16, month: u8, day: u8) -> Self {
        let (year, month, day) = (i64::from(year) - i64::from(month <= 2), i64::from(month), i64::from(day));
        let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
        let day_of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
        Self(era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468)
    }

    /// The day that a TOML file names; none where it names an hour, or no day.
    pub fn written(value: &Datetime) -> Option<Self> {
        match (value.date, value.time, value.offset) {
            (Some(date), None, None) => Some(Self::of(date.year, date.month, date.day)),
            _ => None,
        }
    }

    /// How many days after `earlier` this is.
    pub fn since(self, earlier: Self) -> i64 {
        self.0 - earlier.0
    }

    /// The day so many days later.
    pub fn after(self, days: i64) -> Self {
        Self(self.0 + days)
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let days = self.0 + 719_468;
        let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
        let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month + 2) / 5 + 1;
        let month = if month < 10 { month + 3 } else { month - 9 };
        let year = era * 400 + year_of_era + i64::from(month <= 2);
        write!(f, "{year:04}-{month:02}-{day:02}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_calendar() {
        assert_eq!(Day::of(1970, 1, 1), Day(0));
        assert_eq!(Day::of(1969, 12, 31), Day(-1));
        assert_eq!(Day::of(2026, 11, 21), Day(1_795_219_200 / 86_400));
        assert_eq!(Day::of(2000, 3, 1).since(Day::of(2000, 2, 28)), 2);
        assert_eq!(Day::of(1900, 3, 1).since(Day::of(1900, 2, 28)), 1);
        assert_eq!(Day::of(2025, 2, 28).since(Day::of(2024, 2, 28)), 366);
        for n in -1_000_000..1_000_000 {
            let text = Day(n).to_string();
            let [year, month, day]: [i64; 3] = text
                .rsplitn(3, '-')
                .map(|part| part.parse().unwrap())
                .collect::<Vec<_>>()
                .try_into()
                .map(|[d, m, y]: [i64; 3]| [y, m, d])
                .unwrap();
            if let Ok(year) = u16::try_from(year) {
                assert_eq!(Day::of(year, u8::try_from(month).unwrap(), u8::try_from(day).unwrap()), Day(n), "{text}");
            }
        }
    }

    #[test]
    fn a_day_is_written_without_an_hour() {
        let read = |text: &str| text.parse::<Datetime>().ok().and_then(|value| Day::written(&value));
        assert_eq!(read("2026-11-21"), Some(Day::of(2026, 11, 21)));
        for wrong in ["2026-11-21T00:00:00Z", "2026-11-21T00:00:00", "12:00:00", "2026-02-30", "2026-13-01"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
