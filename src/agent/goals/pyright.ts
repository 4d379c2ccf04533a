import { join, relative } from 'node:path'
import { counted } from '../../lib/counted.ts'
import { FIT, type Goal, type GoalContext, type GoalVerdict } from './goal.ts'
import { parseApart, toResult } from './parse-apart.ts'
import { firstOf } from './project-files.ts'
import { type Exited, endedWith, noResult, runCheck, SHORT_CHECK_MS } from './run-check.ts'
import { DETAILS_LIMIT, headAndTail, lastLine, oneLine, tail } from './text.ts'
import type { Diagnostic, PyrightReport } from './tool-output.ts'

/** `src/a.py:3:7`, counted from 1 as editors do. */
function place(cwd: string, { file, range }: Diagnostic): string {
  if (file === undefined) return 'project'
  const path = relative(cwd, file)
  return range === undefined ? path : `${path}:${range.start.line + 1}:${range.start.character + 1}`
}

function describe(cwd: string, diagnostic: Diagnostic): string {
  const rule = diagnostic.rule === undefined ? '' : ` (${diagnostic.rule})`
  return `${place(cwd, diagnostic)}: ${diagnostic.severity}: ${diagnostic.message}${rule}`
}

function judge(cwd: string, report: PyrightReport, ended: Exited): GoalVerdict {
  const { filesAnalyzed, errorCount, warningCount } = report.summary
  const errors = report.generalDiagnostics.filter(({ severity }) => severity === 'error')
  const found = Math.max(errorCount, errors.length)
  const [first] = errors
  if (found > 0) {
    const files = new Set(errors.map(({ file }) => file)).size
    const example = first === undefined ? '' : `: ${oneLine(describe(cwd, first))}`
    const list = errors.map((error) => describe(cwd, error)).join('\n')
    return {
      verdict: 'not_achieved',
      reason: `${counted(found, 'type error')} in ${counted(files, 'file')}${example}`,
      details: headAndTail(list, DETAILS_LIMIT),
    }
  }
  const details = tail(ended.stderr)
  if (filesAnalyzed === 0) {
    return { verdict: 'not_achieved', reason: 'pyright found no Python file to check', details }
  }
  const warnings = warningCount > 0 ? `, ${counted(warningCount, 'warning')}` : ''
  const clean = `No type errors in ${counted(filesAnalyzed, 'file')}${warnings}`
  if (ended.exitCode === 0) return { verdict: 'achieved', reason: clean, details }
  const reason = `${clean}, but pyright ${endedWith(ended.exitCode)}: ${lastLine(ended.stderr)}`
  return { verdict: 'not_achieved', reason, details }
}

async function check(context: GoalContext): Promise<GoalVerdict> {
  const { cwd } = context.config
  const python = await firstOf(cwd, ['.venv/bin/python', 'venv/bin/python'])
  // Without it, pyright would not find packages that are installed only for the project.
  const environment = python === null ? [] : ['--pythonpath', join(cwd, python)]
  const own = await firstOf(cwd, [
    '.venv/bin/pyright',
    'venv/bin/pyright',
    'node_modules/.bin/pyright',
  ])
  const ran = await runCheck(context, {
    tool: 'pyright',
    programs: [
      { file: own === null ? 'pyright' : join(cwd, own), args: ['--outputjson', ...environment] },
    ],
    missing:
      'pyright is not installed: install it with `pip install pyright` or `npm install --global pyright`',
    timeoutMs: SHORT_CHECK_MS,
  })
  if (ran.isErr()) return ran.error
  const parsed = await parseApart('pyright', [ran.value.stdout], context.signal)
  const report = parsed.andThen(toResult)
  if (report.isOk()) return judge(cwd, report.value, ran.value)
  return noResult('pyright', ran.value, `its report cannot be read (${report.error})`)
}

export const pyright: Goal = {
  name: 'pyright',
  description: 'The Python code has no type errors under pyright',
  prompt:
    'Make this Python project free of type errors under pyright. The check runs `pyright` in the ' +
    'project folder with the settings of the project. It passes when there are no errors; warnings ' +
    'are allowed. Fix the types: no `# type: ignore`, no looser settings, no needless `Any`.',
  registries: ['pypi', 'npm'],
  detect: async (cwd) => {
    const config = await firstOf(cwd, ['pyrightconfig.json'])
    return config === null ? null : { fit: FIT.quality, because: `there is a ${config}` }
  },
  check,
}
