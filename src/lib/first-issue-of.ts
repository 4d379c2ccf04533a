import type { ZodError } from 'zod'

/** What is wrong first with a value that does not fit its schema, after the place where that is. */
export function firstIssueOf({ issues: [issue] }: ZodError): string {
  if (issue === undefined) return 'it is not valid'
  const place = issue.path.map(String).join('.')
  return place === '' ? issue.message : `${place}: ${issue.message}`
}
