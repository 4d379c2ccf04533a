import './node-buffer.ts'
import { bundleLines } from '../../../src/cli/terminal/report-lines.ts'
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

type Section = {
  readonly title: string
  /** What record-keeping rules ask for (Regulation (EU) 2024/1689, the AI Act). */
  readonly rule: string
  readonly make: (evidence: Evidence) => Child[] | Promise<Child[]>
}

const SECTIONS: readonly Section[] = [
  { title: 'Period of use', rule: 'Article 12(3)(a): start and end of each use', make: period },
  { title: 'What was asked, and by whom', rule: 'Article 12(3)(c): input data', make: asked },
  { title: 'What was said', rule: 'Article 12(2)(c): monitoring of the operation', make: said },
  { title: 'What changed', rule: 'Article 12(2)(c): monitoring of the operation', make: changes },
  {
    title: 'The result',
    rule: 'Article 12(2)(b): monitoring after it was put into service',
    make: outcome,
  },
  {
    title: 'Situations of risk',
    rule: 'Article 12(2)(a): events that may present a risk',
    make: risks,
  },
  {
    title: 'Who allowed what',
    rule: 'Article 12(3)(d) with 14(5): persons who verified the results',
    make: people,
  },
  {
    title: 'How commands were confined',
    rule: 'Article 12(2)(c): monitoring of the operation',
    make: isolation,
  },
  { title: 'Models and cost', rule: 'Article 12(2)(c): monitoring of the operation', make: models },
  {
    title: 'Redacted and withheld',
    rule: 'Article 19(1): what is left out of the logs',
    make: redactions,
  },
  { title: 'Proof', rule: 'Article 19(1): logs are kept, and unaltered', make: proof },
  {
    title: 'Every record',
    rule: 'Article 12(1) and 19(1): events recorded automatically',
    make: everyRecord,
  },
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
  const lines = [
    ...(problem === null ? [] : [`The page DOES NOT HOLD: ${problem}.`]),
    ...bundleLines(report),
  ]
  const save = element('button', 'Save the export in this page (.tar.gz)')
  save.addEventListener('click', () => download(archive, `retrai-run-${report.run_id}.tar.gz`))
  const sections = await Promise.all(
    SECTIONS.map(async ({ title, rule, make }, index) => {
      const heading = element('h2', title)
      heading.id = `section-${index}`
      return element(
        'section',
        heading,
        element('p.rule', `EU AI Act, ${rule}`),
        ...(await make(evidence)),
      )
    }),
  )
  const contents = SECTIONS.map(({ title }, index) => {
    const link = element('a', title)
    link.setAttribute('href', `#section-${index}`)
    return link
  })
  conclude(
    holds ? 'holds' : 'fails',
    ...[list(lines), save, element('nav', list(contents))],
    ...(holds
      ? []
      : [element('p.rule', 'Below is only what holds up to the first thing that does not.')]),
    ...sections,
    element('section', element('h2', 'What the verifier found'), json(report)),
  )
}

function conclude(verdict: 'holds' | 'fails', ...content: readonly Child[]): void {
  const said = element(
    'h1',
    verdict === 'holds' ? 'This evidence holds' : 'This evidence does NOT hold',
  )
  root.dataset.verdict = verdict
  document.querySelector('main')?.replaceChildren(said, ...content)
}

function download(archive: Buffer, name: string): void {
  const link = document.createElement('a')
  link.href = URL.createObjectURL(new Blob([new Uint8Array(archive)], { type: 'application/gzip' }))
  link.download = name
  link.click()
}
