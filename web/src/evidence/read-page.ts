import { createHash } from 'node:crypto'
import {
  EXPORT_ENDS,
  PAGE_BEGINS,
  pageAsRead,
  pageStart,
} from '../../../src/audit/bundle/evidence-page.ts'

/** The export in this page, and what is wrong with the page around it. */
export type ReadPage = { readonly archive: Buffer; readonly problem: string | null }

/** Reads the page as the browser has it, before the page is changed. @param script the text of the script that runs */
export function readPage(script: string): ReadPage {
  const text = document.getElementById('export')
  const base64 = text?.textContent ?? ''
  const seal = document.getElementById('seal')?.textContent ?? ''
  const code = { script, style: document.querySelector('style')?.textContent ?? '' }
  // It may be large, and is in memory once more.
  text?.replaceChildren()
  const { doctype, documentElement: root, childNodes } = document
  const isPlain = doctype?.name === 'html' && doctype.publicId + doctype.systemId === ''
  const read = root.outerHTML.replace('data-verdict="verifying"', 'data-verdict="fails"')
  const archive = Buffer.from(base64, 'base64')
  if (!isPlain || childNodes.length !== 2 || PAGE_BEGINS + read !== pageAsRead(code, seal)) {
    const problem =
      'the page around the export was changed, or an extension of this browser changes pages'
    return { archive, problem }
  }
  const sha256 = createHash('sha256').update(pageStart(code)).update(base64).update(EXPORT_ENDS)
  const isSealed = sha256.digest('hex') === seal
  return { archive, problem: isSealed ? null : 'the export in the page, or its seal, was changed' }
}
