import { createHash } from 'node:crypto'

/** What a page of evidence consists of, beside the export. Its files are below `web/src/evidence`. */
export type PageCode = { readonly script: string; readonly style: string }

const hashOf = (text: string): string =>
  createHash('sha256').update(text).digest().toString('base64')

/** How every page begins, so that a reader knows one. */
export const PAGE_BEGINS = '<!doctype html>'
/** What comes before the export, after it, and after the seal: SHA-256 over all bytes before it. */
export const EXPORT_BEGINS = '<script id="export" type="application/gzip+base64">'
export const EXPORT_ENDS = '</script><script id="seal" type="text/plain">'
export const PAGE_ENDS = '</script>'

const HTML = `${PAGE_BEGINS}<html lang="en" data-verdict="fails">`

/** A script or style that was changed has no effect. */
const head = ({ script, style }: PageCode): string =>
  '<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="' +
  `default-src 'none'; script-src 'sha256-${hashOf(script)}'; style-src 'sha256-${hashOf(style)}'; ` +
  `base-uri 'none'; form-action 'none'"><meta name="viewport" content="width=device-width">` +
  `<title>Evidence of a retrAI run</title><style>${style}</style>`

/** Says nothing of the run, since nothing verifies it: everything else is shown by the script. */
const body = ({ script }: PageCode): string =>
  '<main>NOT VERIFIED: the script of this page was changed, or does not run here. ' +
  `"retrai verify" verifies the export in it.</main><script>${script}</script>${EXPORT_BEGINS}`

/** A page up to its export. It has no tag without which it would mean the same. */
export const pageStart = (code: PageCode): string => HTML + head(code) + body(code)

/** A page without its export, as a browser writes what it has read. */
export const pageAsRead = (code: PageCode, seal: string): string =>
  `${HTML}<head>${head(code)}</head><body>${body(code)}${EXPORT_ENDS}${seal}${PAGE_ENDS}</body></html>`
