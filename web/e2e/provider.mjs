// A sign-in provider for the tests: whoever comes is asked for nothing and is the person that the test says.
import { createHash, generateKeyPairSync, randomUUID, sign } from "node:crypto";
import { createServer } from "node:http";

const base64 = (value) =>
  Buffer.from(typeof value === "string" ? value : JSON.stringify(value)).toString("base64url");

/** Listens on this port of the loopback interface. `person` are the claims of whoever comes next. */
export async function startProvider(port) {
  const issuer = `http://127.0.0.1:${port}`;
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  // Another key has another name, or a server that has met an older one would not ask for it.
  const kid = randomUUID();
  const grants = new Map();
  const provider = { issuer, person: { sub: "nobody" } };

  const idToken = (claims) => {
    const signed = `${base64({ alg: "ES256", kid })}.${base64(claims)}`;
    const tag = sign("sha256", Buffer.from(signed), { key: privateKey, dsaEncoding: "ieee-p1363" });
    return `${signed}.${tag.toString("base64url")}`;
  };
  const answer = (response, status, body) => {
    response.writeHead(status, { "content-type": "application/json" });
    response.end(JSON.stringify(body));
  };

  const server = createServer(async (request, response) => {
    const url = new URL(request.url, issuer);
    let text = "";
    for await (const chunk of request) text += chunk;
    switch (url.pathname) {
      case "/.well-known/openid-configuration":
        return answer(response, 200, {
          issuer,
          authorization_endpoint: `${issuer}/authorize`,
          token_endpoint: `${issuer}/token`,
          jwks_uri: `${issuer}/keys`,
        });
      case "/keys": {
        const key = { ...publicKey.export({ format: "jwk" }), kid, alg: "ES256", use: "sig" };
        return answer(response, 200, { keys: [key] });
      }
      case "/authorize": {
        const asked = url.searchParams;
        const code = randomUUID();
        grants.set(code, {
          challenge: asked.get("code_challenge"),
          nonce: asked.get("nonce"),
          claims: provider.person,
        });
        const back = new URL(asked.get("redirect_uri"));
        back.searchParams.set("code", code);
        back.searchParams.set("state", asked.get("state"));
        response.writeHead(302, { location: back.href });
        return response.end();
      }
      case "/token": {
        const form = new URLSearchParams(text);
        const grant = grants.get(form.get("code"));
        grants.delete(form.get("code"));
        const shown = createHash("sha256")
          .update(form.get("code_verifier") ?? "")
          .digest("base64url");
        if (!grant || grant.challenge !== shown) return answer(response, 400, { error: "invalid_grant" });
        const exp = Math.floor(Date.now() / 1000) + 600;
        const claims = { iss: issuer, aud: form.get("client_id"), exp, nonce: grant.nonce, ...grant.claims };
        return answer(response, 200, { id_token: idToken(claims), access_token: "x", token_type: "Bearer" });
      }
      default:
        return answer(response, 404, {});
    }
  });
  await new Promise((resolve) => server.listen(port, "127.0.0.1", resolve));
  provider.stop = () => {
    server.closeAllConnections();
    server.close();
  };
  return provider;
}
