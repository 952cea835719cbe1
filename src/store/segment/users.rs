//! Users as a Parquet file: not sealed, for users change, but taken along.

use std::io::Write;
use std::sync::Arc;

use parquet::data_type::Int64Type;
use parquet::file::metadata::KeyValue;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::ColumnPath;

use super::SegmentError;
use super::schema::{
    Column, Effort, Holds, ROW_GROUP_BYTES_MAX, ROW_GROUP_ROWS_MAX, base, delta, optional, refused,
    required, schema,
};
use super::writer::{Held, Texts, column, unwritten};
use crate::model::Date;

/// The columns, in order. The `attributes` are JSON text.
const COLUMNS: [Column; 5] = [
    required("id", Holds::Text),
    optional("email", Holds::Text),
    required("created_at", Holds::Date),
    required("updated_at", Holds::Date),
    required("attributes", Holds::Text),
];

/// Writes users into one file. It holds one row group in memory, as [`super::SegmentWriter`] does.
pub struct UsersWriter<W: Write> {
    out: W,
    file: SerializedFileWriter<Held>,
    ids: Texts,
    emails: Texts,
    created_at: Vec<i64>,
    updated_at: Vec<i64>,
    attributes: Texts,
}

impl<W: Write> UsersWriter<W> {
    /// Begins a file.
    ///
    /// # Errors
    /// None that are known of; what Parquet says would be passed on.
    pub fn new(out: W) -> Result<UsersWriter<W>, SegmentError> {
        let mut builder = base(Effort::Quick)?;
        for name in ["created_at", "updated_at"] {
            builder = delta(builder, ColumnPath::from(name));
        }
        for name in ["id", "email", "attributes"] {
            builder = builder.set_column_dictionary_enabled(ColumnPath::from(name), false);
        }
        let mut file = SerializedFileWriter::new(
            Held::default(),
            schema("user", &COLUMNS)?,
            Arc::new(builder.build()),
        )
        .map_err(refused)?;
        file.append_key_value_metadata(KeyValue::new("triggerly.users".to_owned(), "1".to_owned()));
        Ok(UsersWriter {
            out,
            file,
            ids: Texts::default(),
            emails: Texts::default(),
            created_at: Vec::new(),
            updated_at: Vec::new(),
            attributes: Texts::default(),
        })
    }

    /// Adds a user, with what is known of it beside the e-mail address, as JSON text.
    ///
    /// # Errors
    /// [`SegmentError::Io`] if it can't be written.
    pub fn put(
        &mut self,
        id: &str,
        email: Option<&str>,
        attributes: &str,
        created_at: Date,
        updated_at: Date,
    ) -> Result<(), SegmentError> {
        self.ids.push(Some(id));
        self.emails.push(email);
        self.created_at.push(created_at.millis());
        self.updated_at.push(updated_at.millis());
        self.attributes.push(Some(attributes));
        let texts = [&self.ids, &self.emails, &self.attributes];
        let bytes: usize = texts.iter().map(|texts| texts.bytes()).sum();
        if self.created_at.len() >= ROW_GROUP_ROWS_MAX || bytes >= ROW_GROUP_BYTES_MAX {
            self.finish_group()?;
        }
        Ok(())
    }

    /// Writes what is left and the end of the file.
    ///
    /// # Errors
    /// [`SegmentError::Io`] if it can't be written.
    pub fn finish(mut self) -> Result<W, SegmentError> {
        if !self.created_at.is_empty() {
            self.finish_group()?;
        }
        let tail = self.file.into_inner().map_err(refused)?.0;
        self.out.write_all(&tail).and_then(|()| self.out.flush()).map_err(unwritten)?;
        Ok(self.out)
    }

    fn finish_group(&mut self) -> Result<(), SegmentError> {
        let mut group = self.file.next_row_group().map_err(refused)?;
        // In the order of the schema.
        self.ids
            .write(&mut group, false)
            .and_then(|()| self.emails.write(&mut group, true))
            .and_then(|()| column::<Int64Type>(&mut group, &self.created_at, None))
            .and_then(|()| column::<Int64Type>(&mut group, &self.updated_at, None))
            .and_then(|()| self.attributes.write(&mut group, false))
            .map_err(refused)?;
        group.close().map_err(refused)?;
        self.created_at.clear();
        self.updated_at.clear();
        self.file.flush().map_err(unwritten)?;
        let held = &mut self.file.inner_mut().0;
        self.out.write_all(held).map_err(unwritten)?;
        held.clear();
        Ok(())
    }
}
