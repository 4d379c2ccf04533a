import { visible } from '../ui/foreign-text.ts'

export type Child = Node | string

/** Makes an element such as `p.note`. Texts are shown as they are, with hidden characters made visible, and are never markup. */
export function element(name: string, ...children: readonly Child[]): HTMLElement {
  const [tag = '', ...classes] = name.split('.')
  const made = document.createElement(tag)
  if (classes.length > 0) made.className = classes.join(' ')
  made.append(...children.map((child) => (typeof child === 'string' ? visible(child) : child)))
  return made
}

/** Terms with what is known of each. A term of which nothing is known is left out. */
export const facts = (all: Readonly<Record<string, Child | null | undefined>>): HTMLElement =>
  element(
    'dl',
    ...Object.entries(all).flatMap(([term, value]) =>
      value == null || value === '' ? [] : [element('dt', term), element('dd', value)],
    ),
  )

/** @param none is said in place of a list without items */
export const list = (items: readonly Child[], none = 'None.'): HTMLElement =>
  items.length === 0
    ? element('p', none)
    : element('ul', ...items.map((item) => element('li', item)))

/** What is made only when a person opens it. */
export function folded(summary: string, make: () => readonly Child[]): HTMLElement {
  const details = element('details', element('summary', summary))
  details.addEventListener('toggle', () => details.append(...make()), { once: true })
  return details
}

export const json = (value: unknown): HTMLElement => element('pre', JSON.stringify(value, null, 2))
