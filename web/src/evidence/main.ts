import './node-buffer.ts'
import { bundleLines } from '../../../src/audit/verify/report-lines.ts'
import { messageOf } from '../../../src/lib/message-of.ts'
import { changes } from './changes.ts'
import { type Child, element, json, list } from './element.ts'
import { people } from './people.ts'
import { type Evidence, readExport } from './read-export.ts'
import { readPage } from './read-page.ts'
import {
  asked,
  everyRecord,
  isolation,
  models,
  outcome,
  period,
  proof,
  redactions,
  risks,
  said,
} from './sections.ts'

type Section = readonly [
  title: string,
  /** What record-keeping rules ask for: articles of Regulation (EU) 2024/1689, the AI Act. */
  rule: string,
  make: (evidence: Evidence) => Child[] | Promise<Child[]>,
]

const SECTIONS: readonly Section[] = [
  ['Period of use', 'Article 12(3)(a): start and end of each use', period],
  ['What was asked, and by whom', 'Article 12(3)(c): input data', asked],
  ['What was said', 'Article 12(2)(c): monitoring of the operation', said],
  ['What changed', 'Article 12(2)(c): monitoring of the operation', changes],
  ['The result', 'Article 12(2)(b): what monitoring needs after it was put to use', outcome],
  ['Situations of risk', 'Article 12(2)(a): events that may present a risk', risks],
  ['Who allowed what', 'Article 12(3)(d): persons who verified the results', people],
  ['How commands were confined', 'Article 12(2)(c): monitoring of the operation', isolation],
  ['Models and cost', 'Article 12(2)(c): monitoring of the operation', models],
  ['Redacted and withheld', 'Article 19(1): what the kept logs do not hold', redactions],
  ['Proof', 'Article 19(1): the logs are kept, and are those that were written', proof],
  ['Every record', 'Articles 12(1) and 19(1): events, recorded automatically', everyRecord],
]

const root = document.documentElement
// Only while the script is read.
const script = document.currentScript?.textContent ?? ''
if (root.dataset.verdict === 'fails') root.dataset.verdict = 'verifying'
document.addEventListener('DOMContentLoaded', () => {
  show().catch((cause: unknown) =>
    conclude('fails', element('p', `This page failed: ${messageOf(cause)}`)),
  )
})

async function show(): Promise<void> {
  const { archive, problem } = readPage(script)
  const evidence = await readExport(archive)
  const { report } = evidence
  const holds = report.holds && problem === null
  const around = problem === null ? [] : [`The page DOES NOT HOLD: ${problem}.`]
  const save = element('button', 'Save the export in this page (.tar.gz)')
  save.addEventListener('click', () => download(archive, `retrai-run-${report.run_id}.tar.gz`))
  const links: Child[] = []
  const sections: Child[] = []
  for (const [title, rule, make] of SECTIONS) {
    const [link, heading] = [element('a', title), element('h2', title)]
    heading.id = title.replaceAll(' ', '-')
    link.setAttribute('href', `#${heading.id}`)
    links.push(link)
    const note = element('p.rule', `EU AI Act, ${rule}`)
    sections.push(element('section', heading, note, ...(await make(evidence))))
  }
  const part = holds ? '' : 'Below is only what holds, up to the first record that does not.'
  const findings = element('section', element('h2', 'What the verifier found'), json(report))
  conclude(
    holds ? 'holds' : 'fails',
    list([...around, ...bundleLines(report)]),
    save,
    element('nav', list(links)),
    element('p', part),
    ...sections,
    findings,
  )
}

function conclude(verdict: 'holds' | 'fails', ...content: readonly Child[]): void {
  const title = element('h1', `This evidence ${verdict === 'holds' ? 'holds' : 'does NOT hold'}`)
  root.dataset.verdict = verdict
  document.querySelector('main')?.replaceChildren(title, ...content)
}

function download(archive: Buffer, name: string): void {
  const link = document.createElement('a')
  link.href = URL.createObjectURL(new Blob([new Uint8Array(archive)], { type: 'application/gzip' }))
  link.download = name
  link.click()
}
