//! `bundle show` and `bundle count`.

use crate::{
    cli::{
        Failure,
        command::Command,
        console,
        flags::FlagSet,
        go::quote::quoted,
        json,
        output::Output,
        rpc,
        server::{connection::Connection, plural::counted_answer},
    },
    spiffe::bundle_doc::{self, DocumentError},
    transport::channel::MAX_MESSAGE_BYTES,
    wire::{
        bundle::{self, BundleError},
        proto::spire::api::{
            server::bundle::v1::{
                CountBundlesRequest, GetBundleRequest, bundle_client::BundleClient,
            },
            types,
        },
    },
    x509::pem,
};

/// Shows the server's own bundle.
#[derive(Debug)]
pub(super) struct Show {
    format: String,
    connection: Connection,
    output: Output,
}

/// Counts the bundles, the server's own among them.
#[derive(Debug, Default)]
pub(super) struct Count {
    connection: Connection,
    output: Output,
}

/// How a bundle is written.
#[derive(Clone, Copy, Debug)]
enum Format {
    Pem,
    Document,
}

/// A bundle that cannot be shown.
#[derive(Debug, thiserror::Error)]
enum Error {
    /// Neither `pem` nor `spiffe`.
    #[error("invalid format: {}", quoted(.0))]
    Format(String),
    /// What the server sent is no bundle.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// The document cannot be written.
    #[error(transparent)]
    Document(#[from] DocumentError),
}

impl Default for Show {
    fn default() -> Self {
        let format = "pem".to_owned();
        Self { format, connection: Connection::default(), output: Output::default() }
    }
}

impl Command for Show {
    fn flags<'a>(&'a mut self, flags: &mut FlagSet<'a>) {
        flags.add("format", &mut self.format, "How to write the bundle as text: pem or spiffe");
        self.connection.flags(flags);
        self.output.flags(flags);
    }

    fn run(self: Box<Self>) -> Result<(), Failure> {
        let format = self.format()?;
        let bundle = self.connection.call(async |channel| -> Result<_, rpc::Error> {
            let mut client =
                BundleClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES);
            Ok(client.get_bundle(GetBundleRequest { output_mask: None }).await?.into_inner())
        })?;
        let text =
            if self.output.is_json() { json::line(&bundle)? } else { text(&bundle, format)? };
        console::print(&text)
    }
}

impl Show {
    fn format(&self) -> Result<Format, Error> {
        match self.format.to_ascii_lowercase().as_str() {
            "" | "pem" => Ok(Format::Pem),
            "spiffe" => Ok(Format::Document),
            _ => Err(Error::Format(self.format.clone())),
        }
    }
}

fn text(wire: &types::Bundle, format: Format) -> Result<String, Error> {
    let bundle = bundle::bundle(wire)?;
    match format {
        Format::Document => Ok(bundle_doc::write(&bundle)?),
        Format::Pem => {
            let mut text = Vec::new();
            for authority in bundle.x509_authorities() {
                pem::push_certificate(&mut text, &authority.certificate);
            }
            Ok(String::from_utf8_lossy(&text).into_owned())
        }
    }
}

impl Command for Count {
    fn flags<'a>(&'a mut self, flags: &mut FlagSet<'a>) {
        self.connection.flags(flags);
        self.output.flags(flags);
    }

    fn run(self: Box<Self>) -> Result<(), Failure> {
        let answer = self.connection.call(async |channel| -> Result<_, rpc::Error> {
            Ok(BundleClient::new(channel).count_bundles(CountBundlesRequest {}).await?.into_inner())
        })?;
        self.output
            .print(&answer, |answer| counted_answer(answer.count, "bundle", "bundles") + "\n")
    }
}
