/** SHA-256 (hex). Browsers provide no cryptography of their own without TLS. */
export async function sha256Of(content: Uint8Array<ArrayBuffer>): Promise<string> {
  if (!isSecureContext) {
    const { hash } = await import('../verify/node-crypto.ts')
    return hash('sha256', content, 'hex')
  }
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', content))
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('')
}
