// The packages of package.json, which lie where the test has put them: not beside these scripts.

import { createRequire } from "node:module";

const require = createRequire(`${process.env.PAGES_PACKAGES}/package.json`);

export const puppeteer = require("puppeteer-core");
export const axe = require("axe-core");
export const { HtmlValidate } = require("html-validate");
