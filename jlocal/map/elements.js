"use strict";

// Making elements. Whatever comes from documents goes into them as text.

const element = (id) => document.getElementById(id);

const formatter = new Intl.NumberFormat("en");
const format = (value) => formatter.format(value);

// What texts may hold is shown as text always; these would act on it or not be seen.
const plain = (text) => text.replace(/[\p{Cc}\u202a-\u202e\u2066-\u2069]/gu, "\ufffd");

const make = (tag, name, text) => {
  const made = document.createElement(tag);
  made.className = name;
  made.textContent = text;
  return made;
};

const dot = (group) => {
  const made = make("span", "dot", "");
  made.style.color = made.style.background = `var(--c${group})`;
  return made;
};
