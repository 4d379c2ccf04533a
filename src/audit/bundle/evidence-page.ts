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
export const PAGE_ENDS = '</script></body></html>'

/** Says nothing of the run, since nothing verifies it: everything else is shown by the script. */
const UNVERIFIED =
  '<main><h1>Not verified</h1><p>This page has not verified itself: its script was changed, or does not run here. ' +
  'Believe nothing of it. <code>retrai verify FILE</code> verifies the export in it.</p></main>'

/**
 * A page up to its export, written as a browser writes the page that it has read, so that the script can compare the two.
 * A script that was changed does not run.
 */
export const pageStart = ({ script, style }: PageCode): string =>
  `${PAGE_BEGINS}<html lang="en" data-verdict="fails"><head><meta charset="utf-8">` +
  `<meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src 'sha256-${hashOf(script)}'; ` +
  `style-src 'sha256-${hashOf(style)}'; base-uri 'none'; form-action 'none'">` +
  '<meta name="viewport" content="width=device-width"><title>Evidence of a retrAI run</title>' +
  `<style>${style}</style></head><body>${UNVERIFIED}<script>${script}</script>${EXPORT_BEGINS}`
