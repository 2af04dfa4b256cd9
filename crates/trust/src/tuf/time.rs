//! Dates as metadata has them (specification 4.2.3).

use std::time::{Duration, SystemTime};

/// Reads `YYYY-MM-DDTHH:MM:SSZ`. A fraction of the second, which some writers add, is dropped: it expires no later.
pub(crate) fn parse(text: &str) -> Option<SystemTime> {
    let bytes = text.as_bytes();
    let shape = |at: usize, c: u8| bytes.get(at) == Some(&c);
    if !(shape(4, b'-') && shape(7, b'-') && shape(10, b'T') && shape(13, b':') && shape(16, b':')) {
        return None;
    }
    let number = |from: usize, to: usize| -> Option<u64> {
        let digits = bytes.get(from..to)?;
        digits.iter().try_fold(0, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + u64::from(digit - b'0')))
    };
    let [year, month, day] = [number(0, 4)?, number(5, 7)?, number(8, 10)?];
    let [hour, minute, second] = [number(11, 13)?, number(14, 16)?, number(17, 19)?];
    let rest = bytes.get(19..)?.strip_suffix(b"Z")?;
    if let Some((dot, digits)) = rest.split_first()
        && (*dot != b'.' || digits.is_empty() || !digits.iter().all(u8::is_ascii_digit))
    {
        return None;
    }
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days_of_month = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if year < 1970 || !(1..=days_of_month).contains(&day) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    // Days since 1970-01-01 of the proleptic Gregorian calendar, the year beginning in March.
    let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1 - 719_468;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(((days * 24 + hour) * 60 + minute) * 60 + second))
}

/// A moment in the same form, for messages; seconds are dropped to their beginning.
pub(crate) fn show(moment: SystemTime) -> String {
    let Ok(since) = moment.duration_since(SystemTime::UNIX_EPOCH) else { return "before 1970".to_owned() };
    let (days, seconds) = (since.as_secs() / 86400, since.as_secs() % 86400);
    let (shifted, era) = ((days + 719_468) % 146_097, (days + 719_468) / 146_097);
    let year_of_era = (shifted - shifted / 1460 + shifted / 36_524 - shifted / 146_096) / 365;
    let day_of_year = shifted - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let m = (5 * day_of_year + 2) / 153;
    let month = if m < 10 { m + 3 } else { m - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let day = day_of_year - (153 * m + 2) / 5 + 1;
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_expected_form_and_writes_it_back() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("1985-10-21T01:21:00Z", 498_705_660),
            ("2000-02-29T23:59:59Z", 951_868_799),
            ("2038-01-19T03:14:08Z", 2_147_483_648),
            ("9999-12-31T23:59:59Z", 253_402_300_799),
        ] {
            let moment = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            assert_eq!(parse(text), Some(moment), "{text}");
            assert_eq!(show(moment), text);
        }
        assert_eq!(parse("2030-01-01T00:00:00.987654321Z"), parse("2030-01-01T00:00:00Z"));
    }

    #[test]
    fn refuses_other_forms() {
        for text in [
            "",
            "2030-01-01",
            "2030-01-01T00:00:00",
            "2030-01-01T00:00:00+00:00",
            "2030-01-01 00:00:00Z",
            "2030-02-29T00:00:00Z",
            "2030-13-01T00:00:00Z",
            "2030-00-01T00:00:00Z",
            "2030-01-00T00:00:00Z",
            "2030-01-01T24:00:00Z",
            "2030-01-01T00:00:60Z",
            "2030-01-01T00:00:00.Z",
            "2030-01-01T00:00:00.1xZ",
            "+030-01-01T00:00:00Z",
            "1969-12-31T23:59:59Z",
            "2030-01-01T00:00:00ZZ",
            "２０30-01-01T00:00:00Z",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
