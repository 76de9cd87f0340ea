import "./style.css";
import { App } from "./app";
import { register } from "./offline";

void register();
new App();
