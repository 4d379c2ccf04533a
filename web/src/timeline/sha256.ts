/** SHA-256 (hex); null where the browser hands out no cryptography, as it does without TLS. */
export async function sha256Of(content: Uint8Array<ArrayBuffer>): Promise<string | null> {
  if (!isSecureContext) return null
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', content))
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('')
}
