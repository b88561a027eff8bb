//! What `strftime_now` tells.

use std::time::{SystemTime, UNIX_EPOCH};

use super::Checked;
use crate::error::ChatError;

/// A time of day on a day, without a zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    year: i64,
    month: u8,
    day: u8,
    hour: u8,
    minute: u8,
    second: u8,
}

const MONTHS: [&str; 12] =
    ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"];
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

impl Default for Clock {
    /// The beginning of 1970.
    fn default() -> Self {
        Clock { year: 1970, month: 1, day: 1, hour: 0, minute: 0, second: 0 }
    }
}

impl Clock {
    /// The machine's time, UTC: the standard library knows no other zone.
    pub fn now() -> Self {
        Self::at(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))
    }

    fn at(seconds: u64) -> Self {
        let (days, rest) = ((seconds / 86_400) as i64, seconds % 86_400);
        let (mut year, mut left) = (1970, days);
        while left >= days_of_year(year) {
            left -= days_of_year(year);
            year += 1;
        }
        let mut month = 1;
        while left >= i64::from(days_of_month(year, month)) {
            left -= i64::from(days_of_month(year, month));
            month += 1;
        }
        let part = |n: u64| n as u8;
        Clock { year, month, day: left as u8 + 1, hour: part(rest / 3600), minute: part(rest / 60 % 60), second: part(rest % 60) }
    }

    /// Reads `2026-07-05T09:08:07`.
    ///
    /// # Errors
    ///
    /// [`ChatError::Clock`] where it is of another form, or no such time.
    pub fn parse(text: &str) -> std::result::Result<Self, ChatError> {
        Self::read(text).ok_or_else(|| ChatError::Clock { text: text.chars().take(64).collect() })
    }

    fn read(text: &str) -> Option<Self> {
        const FORM: &[u8] = b"dddd-dd-ddTdd:dd:dd";
        let bytes = text.as_bytes();
        let fits = |i: usize| if FORM[i] == b'd' { bytes[i].is_ascii_digit() } else { bytes[i] == FORM[i] };
        if bytes.len() != FORM.len() || !(0..FORM.len()).all(fits) {
            return None;
        }
        let number = |from: usize, to: usize| text[from..to].parse::<u16>().ok();
        let small = |from: usize| number(from, from + 2).map(|n| n as u8);
        let clock = Clock {
            year: i64::from(number(0, 4)?),
            month: small(5)?,
            day: small(8)?,
            hour: small(11)?,
            minute: small(14)?,
            second: small(17)?,
        };
        let is_day = (1..=12).contains(&clock.month) && clock.day >= 1 && clock.day <= days_of_month(clock.year, clock.month);
        (clock.year >= 1 && is_day && clock.hour < 24 && clock.minute < 60 && clock.second < 60).then_some(clock)
    }

    /// The time in the words of `strftime`, in the C locale; `-` before a letter leaves leading zeros out.
    pub(super) fn format(self, format: &str) -> std::result::Result<String, String> {
        let mut text = String::new();
        let mut letters = format.chars();
        while let Some(letter) = letters.next() {
            if letter != '%' {
                text.push(letter);
                continue;
            }
            let unknown = || format!("strftime_now: a format that is not known in `{}`", crate::Escaped(format));
            match letters.next().ok_or_else(unknown)? {
                '-' => {
                    let whole = letters.next().and_then(|letter| self.part(letter)).ok_or_else(unknown)?;
                    let short = whole.trim_start_matches(['0', ' ']);
                    text.push_str(if short.is_empty() { "0" } else { short });
                }
                letter => text.push_str(&self.part(letter).ok_or_else(unknown)?),
            }
        }
        Ok(text)
    }

    fn part(self, letter: char) -> Option<String> {
        let Clock { year, month, day, hour, minute, second } = self;
        let (month_name, weekday) = (MONTHS[usize::from(month) - 1], self.weekday());
        let of_twelve = if hour % 12 == 0 { 12 } else { hour % 12 };
        Some(match letter {
            'a' => DAYS[weekday][..3].to_owned(),
            'A' => DAYS[weekday].to_owned(),
            'b' | 'h' => month_name[..3].to_owned(),
            'B' => month_name.to_owned(),
            'd' => format!("{day:02}"),
            'D' | 'x' => format!("{month:02}/{day:02}/{:02}", year % 100),
            'e' => format!("{day:2}"),
            'F' => format!("{year}-{month:02}-{day:02}"),
            'H' => format!("{hour:02}"),
            'I' => format!("{of_twelve:02}"),
            'j' => format!("{:03}", self.day_of_year()),
            'm' => format!("{month:02}"),
            'M' => format!("{minute:02}"),
            'n' => "\n".to_owned(),
            'p' => if hour < 12 { "AM" } else { "PM" }.to_owned(),
            'R' => format!("{hour:02}:{minute:02}"),
            'S' => format!("{second:02}"),
            't' => "\t".to_owned(),
            'T' | 'X' => format!("{hour:02}:{minute:02}:{second:02}"),
            'u' => if weekday == 0 { 7 } else { weekday }.to_string(),
            'w' => weekday.to_string(),
            'y' => format!("{:02}", year % 100),
            'Y' => year.to_string(),
            '%' => "%".to_owned(),
            _ => return None,
        })
    }

    fn day_of_year(self) -> i64 {
        (1..self.month).map(|month| i64::from(days_of_month(self.year, month))).sum::<i64>() + i64::from(self.day)
    }

    /// The day of the week, Sunday 0.
    fn weekday(self) -> usize {
        let before = self.year - 1;
        let days = before * 365 + before / 4 - before / 100 + before / 400 + self.day_of_year();
        days.rem_euclid(7) as usize
    }
}

impl std::str::FromStr for Clock {
    type Err = ChatError;

    fn from_str(text: &str) -> Checked<Self> {
        Self::parse(text)
    }
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_of_year(year: i64) -> i64 {
    if is_leap(year) { 366 } else { 365 }
}

fn days_of_month(year: i64, month: u8) -> u8 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_the_words_of_strftime() {
        let clock = Clock::parse("2026-07-05T09:08:07").expect("a time");
        assert_eq!(
            clock.format("%d %b %Y, %A %-d. %B '%y %H:%M:%S %I%p %j %%").as_deref(),
            Ok("05 Jul 2026, Sunday 5. July '26 09:08:07 09AM 186 %")
        );
        let clock = Clock::parse("2024-02-29T00:30:00").expect("a time");
        assert_eq!(clock.format("%a %F %T %-I %p %e").as_deref(), Ok("Thu 2024-02-29 00:30:00 12 AM 29"));
        assert!(clock.format("%Q").is_err() && clock.format("%").is_err() && clock.format("%-").is_err());
    }

    #[test]
    fn seconds_since_1970_are_days_and_times() {
        assert_eq!(Clock::at(0), Clock::default());
        assert_eq!(Clock::at(951_782_400), Clock::parse("2000-02-29T00:00:00").expect("a time"));
        assert_eq!(Clock::at(1_767_225_599), Clock::parse("2025-12-31T23:59:59").expect("a time"));
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "2026-07-05",
            "2026-13-01T00:00:00",
            "2026-02-29T00:00:00",
            "2026-01-01T24:00:00",
            "2026-01-01 00:00:00",
            "２026-01-01T00:00",
        ] {
            assert!(Clock::parse(text).is_err(), "{text}");
        }
    }

    /// What glibc's `strftime` says of the same times, in the C locale.
    #[test]
    fn every_word_of_strftime_is_told() {
        let clock: Clock = "2026-07-05T21:08:07".parse().expect("a time");
        assert_eq!(
            clock.format("%D|%x|%n|%R|%t|%X|%u|%w|%h|%y|%I %p").as_deref(),
            Ok("07/05/26|07/05/26|\n|21:08|\t|21:08:07|7|0|Jul|26|09 PM")
        );
        let clock: Clock = "2008-12-31T12:00:59".parse().expect("a time");
        assert_eq!(clock.format("%u %w %j %-j %-y %-e %I %p").as_deref(), Ok("3 3 366 366 8 31 12 PM"));
        assert!("noon".parse::<Clock>().is_err());
    }
}
