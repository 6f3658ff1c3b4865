//! Azure's identities: a client's secret, a federated token of the workload, or the identity that the machine has.
//!
//! The first whose variables are set is asked, in the order of Azure's own libraries; the machine's last, without being named. What they
//! give is a bearer for Azure's AI services.

use http::HeaderMap;

use super::{
    Got,
    fetch::{World, encoded, headers},
};

const ENTRA: &str = "Entra ID";
const MANAGED: &str = "the managed identity's service";
const SCOPE: &str = "https://cognitiveservices.azure.com/.default";
const RESOURCE: &str = "https://cognitiveservices.azure.com";
const AUTHORITY: &str = "https://login.microsoftonline.com";
const MACHINE_AT: &str = "http://169.254.169.254";

/// Asks the identity that is configured.
pub(super) async fn fetch(world: &World) -> Result<Got, String> {
    let (tenant, client) = (world.var("AZURE_TENANT_ID"), world.var("AZURE_CLIENT_ID"));
    if let (Some(tenant), Some(client)) = (&tenant, &client) {
        if let Some(secret) = world.var("AZURE_CLIENT_SECRET") {
            return entra(world, tenant, client, &[("client_secret", &secret)]).await;
        }
        if let Some(file) = world.var("AZURE_FEDERATED_TOKEN_FILE") {
            let token = world.secret(&file).await?;
            let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
            let proof = [("client_assertion_type", kind), ("client_assertion", token.expose())];
            return entra(world, tenant, client, &proof).await;
        }
    }
    match (world.var("IDENTITY_ENDPOINT"), world.var("IDENTITY_HEADER")) {
        (Some(url), Some(secret)) => {
            let head = headers(&[("x-identity-header", &secret)])?;
            managed(world, &url, "2019-08-01", head, client.as_deref()).await
        }
        _ => {
            let base = world.var("AZURE_POD_IDENTITY_AUTHORITY_HOST").unwrap_or_else(|| MACHINE_AT.into());
            let url = format!("{}/metadata/identity/oauth2/token", base.trim_end_matches('/'));
            managed(world, &url, "2018-02-01", headers(&[("metadata", "true")])?, client.as_deref()).await
        }
    }
}

/// A token for whatever proves that it is the client.
async fn entra(world: &World, tenant: &str, client: &str, proof: &[(&str, &str)]) -> Result<Got, String> {
    if !tenant.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte)) {
        return Err("AZURE_TENANT_ID is not the id of a tenant".into());
    }
    let authority = world.var("AZURE_AUTHORITY_HOST").unwrap_or_else(|| AUTHORITY.into());
    let url = format!("{}/{tenant}/oauth2/v2.0/token", authority.trim_end_matches('/'));
    let mut form = vec![("grant_type", "client_credentials"), ("client_id", client), ("scope", SCOPE)];
    form.extend_from_slice(proof);
    let asked = world.now();
    world.token(ENTRA, &world.post(ENTRA, &url, &form).await?, asked)
}

/// A token of the machine's own identity, or of the one of several that is named.
async fn managed(
    world: &World,
    url: &str,
    version: &str,
    head: HeaderMap,
    client: Option<&str>,
) -> Result<Got, String> {
    let mut query = vec![("api-version", version), ("resource", RESOURCE)];
    query.extend(client.map(|client| ("client_id", client)));
    let asked = world.now();
    let answer = world.get(MANAGED, &format!("{url}?{}", encoded(&query)), head).await?;
    world.token(MANAGED, &answer, asked)
}
