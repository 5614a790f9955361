//! Receipts: who gave an answer, and the file that proves it.

use std::sync::Arc;

use axum::{
    Extension, Json,
    extract::{Path, State},
};
use data_encoding::BASE64;
use tidemill_api as api;
use tidemill_types::{JobId, Receipt, TaskId, TaskNumber};

use crate::{error::HttpError, guard::Guest, keys::Scope, router::App};

/// `GET /v1/receipts/{id}`: of an answer of the same key, as long as it is kept.
pub async fn show(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Extension(guest): Extension<Guest>,
) -> Result<Json<api::Receipt>, HttpError> {
    guest.may(Scope::Models)?;
    let unknown = || {
        let message =
            "there is no such receipt: it is another key's, or the time for which receipts are kept is over";
        HttpError::not_found("receipt_not_found", message)
    };
    let job: JobId = id.parse().map_err(|_| unknown())?;
    let session = app.sessions.open(guest.visitor);
    let receipt = session.receipt(TaskId { job, task: TaskNumber(0) }).await;
    let receipt = match receipt {
        Ok(receipt) => receipt.ok_or_else(unknown)?,
        Err(error) => {
            let error = HttpError::from(error);
            return Err(if error.status == 404 { unknown() } else { error });
        }
    };
    Ok(Json(api::Receipt { file: Some(BASE64.encode(&receipt.to_file())), ..api::Receipt::from(&receipt) }))
}

/// What the header of an answer says of it.
pub(crate) fn header(job: JobId, receipt: Option<&Receipt>) -> String {
    match receipt {
        None => format!("{job}; accepted=pending"),
        Some(receipt) => {
            let accepted = format!("{:?}", receipt.acceptance.basis).to_lowercase();
            let (results, agreeing) = (receipt.acceptance.results, receipt.acceptance.agreeing);
            let provider = receipt.result.leaf.terms.provider;
            let price = receipt.price.wei();
            format!(
                "{job}; provider={provider}; accepted={accepted}; agreeing={agreeing}/{results}; price_wei={price}"
            )
        }
    }
}
