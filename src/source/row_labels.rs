//! What the configuration of a list takes from the fields of its rows: labels, and whose tasks they are.

use crate::config::ListSourceSettings;
use crate::domain::Answer;
use crate::domain::labels::sanitize_source_label;
use crate::domain::reading::RowField;
use crate::provider::ListScope;

/// Adds the configured labels to rows, and marks those of other users, whose tasks no key can read.
pub fn label_rows(list: &ListSourceSettings, rows: &mut [Answer]) {
    for row in rows.iter_mut().filter_map(|row| row.row.as_mut()) {
        let fields = std::mem::take(&mut row.fields);
        let text = |wanted: RowField| fields.iter().find(|(field, _)| *field == wanted).map(|(_, text)| text);
        let label = |(name, field): &(String, RowField)| {
            let text = text(*field)?;
            let channel = list.channel_names.get(text).filter(|_| *field == RowField::ChannelId);
            Some((name.clone(), channel.cloned().unwrap_or_else(|| sanitize_source_label(text).into_owned())))
        };
        row.labels = list.labels.iter().filter_map(label).collect();
        // Without a user in the configuration, or in the row of a fork, nobody knows whether the key can read it.
        let is_own = list.user_id.as_deref().zip(text(RowField::UserId)).is_some_and(|(own, user)| own == user);
        row.is_list_only = list.scope == ListScope::All && !is_own;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;
    use crate::domain::reading::RowDetails;

    fn list(scope: ListScope) -> ListSourceSettings {
        ListSourceSettings {
            key: None,
            key_reference: String::new(),
            refresh_interval: Duration::ZERO,
            max_targets: 1,
            lookback: Duration::ZERO,
            user_id: Some("42".into()),
            scope,
            labels: vec![("user".to_owned(), RowField::Username), ("channel".to_owned(), RowField::ChannelId)],
            channel_names: BTreeMap::from([("3".to_owned(), "ark-main".to_owned())]),
            requests_per_second: 1.0,
            discovers: true,
        }
    }

    #[test]
    fn rows_get_the_configured_labels_and_their_owner() {
        use RowField::{ChannelId, UserId, Username};
        let row = |fields: &[(RowField, &str)]| Answer {
            row: Some(Box::new(RowDetails {
                fields: fields.iter().map(|(field, text)| (*field, (*text).to_owned())).collect(),
                ..RowDetails::default()
            })),
            ..Answer::default()
        };
        let mut rows = [
            row(&[(Username, "ann"), (UserId, "42"), (ChannelId, "3")]),
            row(&[(Username, "bob\n"), (UserId, "7"), (ChannelId, "4")]),
            row(&[]),
        ];
        label_rows(&list(ListScope::All), &mut rows);
        let is_list_only = |row: &Answer| row.row.as_ref().is_some_and(|row| row.is_list_only);
        let labels = |row: &Answer| {
            row.row
                .iter()
                .flat_map(|row| &row.labels)
                .map(|(name, value)| format!("{name}={value}"))
                .collect::<Vec<_>>()
        };
        assert_eq!(labels(&rows[0]), ["user=ann", "channel=ark-main"]);
        assert_eq!(labels(&rows[1]), ["user=bob", "channel=4"]);
        assert!(labels(&rows[2]).is_empty());
        assert_eq!(rows.each_ref().map(is_list_only), [false, true, true], "a fork may not tell the user");
        let mut rows = [row(&[(UserId, "7")])];
        label_rows(&list(ListScope::Own), &mut rows);
        assert!(!is_list_only(&rows[0]));
    }
}
